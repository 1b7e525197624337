"""The command line: parse, call the public interface, print. No logic lives here.

Heavy imports happen inside the commands, so that `uce --help` answers at once.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from uce import __version__, cli_batch, cli_measure, cli_report, cli_tokens, cli_ui
from uce import completion as complete
from uce.cli_options import (
    Device,
    Image,
    Json,
    NewName,
    NewStage,
    NoPlugin,
    NoReport,
    Out,
    ParentFolder,
    PluginFiles,
    Precision,
    Replace,
    Tracker,
    run_options,
    takes_run_options,
)
from uce.core import logs
from uce.core.errors import UceError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="One picture in; masks and learned concept tokens out.",
    epilog="Start with: uce run PICTURE -o out",
)
plugins_app = typer.Typer(help="List, describe and begin plugins.", invoke_without_command=True)
app.add_typer(plugins_app, name="plugins")
cli_measure.register(app)

# The parser's own error type: typer has vendored click or not, depending on its version.
_PARSER_ERROR: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
INTERRUPTED = 130
STDIN = Path("-")
_SURROUNDINGS = {getattr(errno, name, 0) for name in ("ENAMETOOLONG", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM",
                                                      "EIO", "ESTALE", "EMFILE")}  # fmt: skip
"""What the machine refuses, wherever that happens: no fault of ours."""


def _version(value: bool) -> None:
    if value:
        print(f"uce {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Say what happens, on stderr; -vv says all details.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no warnings: results and errors.")] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Stderr holds JSON lines and nothing else.")] = False,
) -> None:
    """One picture in; masks and learned concept tokens out."""
    logs.configure(-1 if quiet else verbose, log_json)


def _out_for(image: Path, out: Path | None) -> Path:
    return out or Path("stdin-uce" if image == STDIN else f"{image.stem}-uce")


def _source(image: Path) -> Any:
    """The picture that IMAGE names: a file, or what is piped in."""
    if image != STDIN:
        return image
    from uce.core.picture_files import read_stdin

    return read_stdin()


@app.command()
@takes_run_options()
def run(
    image: Image,
    out: Out = None,
    no_report: NoReport = False,
    tracker: Tracker = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Find the things in IMAGE and learn a token for each."""
    import uce
    from uce.terminal import show_run

    options = {**run_options(options, json_, *cli_report.writers(not no_report)), "tracker": tracker or []}
    show_run(uce.run(_source(image), _out_for(image, out), **options), json_)


@app.command()
@takes_run_options()
def localize(image: Image, out: Out = None, json_: Json = False, **options: Any) -> None:
    """Find the things in IMAGE; edit the masks if you like, then `uce learn DIR`."""
    import uce
    from uce.terminal import show_run

    out = _out_for(image, out)
    uce.localize(_source(image), out, **run_options(options, json_))
    show_run(uce.load(out), json_)


@app.command()
@takes_run_options("model", "extractor", "clusterer", "refiner", "config", "preset")
def learn(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `uce localize` wrote.")],
    no_report: NoReport = False,
    tracker: Tracker = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Learn a token for every mask as it lies in DIR/masks now."""
    import uce
    from uce.terminal import show_run

    options = {**run_options(options, json_, *cli_report.writers(not no_report)), "tracker": tracker or []}
    show_run(uce.learn(folder, **options), json_)


@app.command()
@takes_run_options()
def ablate(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="The pictures.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder for tables and runs.")],
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V1,V2", help="What varies: a stage, model, preset, seed, or a key of --set; repeat."),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="Each single change of the base, not every combination.")
    ] = False,
    localize_only: Annotated[bool, typer.Option("--localize-only", help="Stages one to three only.")] = False,
    truth: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="True masks: label PNGs, or a folder of masks per picture.")
    ] = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Compare configurations: every combination of --vary on every IMAGE, and a table of what each is worth."""
    import uce
    from uce.terminal import ablation_observers, show_ablation

    options = {**run_options(options, json_), "observers": ablation_observers(vary or [], localize_only, json_)}
    grid: dict[str, Any] = {"one_at_a_time": one_at_a_time, "localize_only": localize_only, "truth": truth}
    if not show_ablation(uce.ablate(images, out, vary=vary or [], **grid, **options), json_):
        raise typer.Exit(2)


cli_batch.register(app)
cli_tokens.register(app)
cli_report.register(app)
cli_ui.register(app)


@plugins_app.callback()
def plugins_list(
    context: typer.Context, plugin: PluginFiles = None, no_plugin: NoPlugin = None, json_: Json = False
) -> None:
    """List every plugin: stage, name, distribution, one line."""
    if context.invoked_subcommand is None:
        from uce.terminal_plugins import show_plugins

        show_plugins(plugin or [], no_plugin or [], json_)


@plugins_app.command("show")
def plugins_show(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.plugins())],
    plugin: PluginFiles = None, no_plugin: NoPlugin = None, json_: Json = False,
) -> None:  # fmt: skip
    """Describe one plugin and its settings."""
    from uce.terminal_plugins import show_plugin

    show_plugin(name, plugin or [], no_plugin or [], json_)


@plugins_app.command("new")
def plugins_new(
    name: NewName, stage: NewStage, out: ParentFolder = None, replace: Replace = False, json_: Json = False
) -> None:
    """Write a complete, installable package with one plugin to start from."""
    from uce.scaffold import new_package
    from uce.terminal_plugins import show_new_package

    show_new_package(new_package(name, stage, out, replace=replace), json_)


@app.command()
def doctor(
    model: Annotated[str | None, typer.Option(metavar="M", help="Also load this model and try it.")] = None,
    device: Device = None,
    precision: Precision = None,
    json_: Json = False,
) -> None:
    """Say what is installed and which devices there are; with --model, try that model from end to end."""
    from uce.doctor import examine

    if not examine(model, device, precision, json_):
        raise typer.Exit(2)


def _fail(message: str, code: int = 2) -> NoReturn:
    if logs.json_lines():
        logging.getLogger("uce").error("%s", message)
    else:
        print("uce: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(code)


def _terminate(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point: errors that the user can mend become one line and exit code 2."""
    signal.signal(signal.SIGTERM, _terminate)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="uce", standalone_mode=False)
    except UceError as error:
        _fail(str(error))
    except _PARSER_ERROR as error:
        _fail(f"{_message(error)} See uce {_command(arguments)}--help")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        raise SystemExit(1) from None
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        from uce.core.memory import is_out_of_memory

        if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror}; choose another file or folder, or make room")
        if not is_out_of_memory(error):
            raise
        _fail("memory ran out; lower run.micro_batch (--set run.micro_batch=1), or use a smaller model or picture")
    if code == INTERRUPTED:  # typer turns Ctrl-C into this exit code by itself
        arguments = arguments[next(i for i, a in enumerate([*arguments, ""]) if a[:1] != "-") :]  # behind uce -v
        folder = _folder(arguments)
        flag = "" if arguments[:1] == ["batch"] else " and --resume"
        hint = f"; continue with the same command{flag} ({folder} keeps the checkpoint)" if folder else ""
        _fail(f"interrupted{hint}", INTERRUPTED)
    raise SystemExit(code if isinstance(code, int) else 0)


def _message(error: Any) -> str:
    text: str = error.format_message().strip() or "no command given"
    return text if text.endswith((".", "?")) else f"{text}."


def _command(arguments: list[str]) -> str:
    """The words of the command on the command line, each followed by a space."""
    groups = {"plugins": plugins_app, "library": cli_tokens.library_app}
    group = groups.get("".join(arguments[:1]), app)
    typed = arguments[: 1 if group is app else 2]
    names = {c.name or (c.callback.__name__ if c.callback else "") for c in group.registered_commands} | {*groups}
    return "".join(f"{word} " for word in typed if word in names)


def _folder(arguments: list[str]) -> str | None:
    """The folder on the command line, if something was begun in it."""
    for flag in ("-o", "--out"):
        if flag in arguments[:-1]:
            folder = arguments[arguments.index(flag) + 1]
            files = ("run.json", "ablation.json", "benchmark.json", "batch.json")
            return folder if any((Path(folder) / name).is_file() for name in files) else None
    named = {"learn": arguments[1:], "run": [str(_out_for(Path(a), None)) for a in arguments[1:]]}
    named["localize"] = named["run"]
    return next((a for a in named.get("".join(arguments[:1]), []) if (Path(a) / "run.json").is_file()), None)


if __name__ == "__main__":
    main()
