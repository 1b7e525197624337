"""The entry point of the command line: whatever goes wrong becomes one line and an exit code here."""

from __future__ import annotations

import errno
import logging
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from uce.commands.app import GROUPS, app
from uce.commands.run import out_for
from uce.core import logs
from uce.core.errors import UceError

# The parser's own error type: typer has vendored click or not, depending on its version.
_PARSER_ERROR: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
INTERRUPTED = 130
_SURROUNDINGS = {getattr(errno, name, 0) for name in ("ENAMETOOLONG", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM",
                                                      "EIO", "ESTALE", "EMFILE")}  # fmt: skip
"""What the machine refuses, wherever that happens: no fault of ours."""


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
    logs.steady_streams()
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
        from uce.core.errors import is_out_of_memory

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
    group = GROUPS.get("".join(arguments[:1]), app)
    typed = arguments[: 1 if group is app else 2]
    names = {c.name or (c.callback.__name__ if c.callback else "") for c in group.registered_commands} | {*GROUPS}
    return "".join(f"{word} " for word in typed if word in names)


def _folder(arguments: list[str]) -> str | None:
    """The folder on the command line, if something was begun in it."""
    for flag in ("-o", "--out"):
        if flag in arguments[:-1]:
            folder = arguments[arguments.index(flag) + 1]
            files = ("run.json", "ablation.json", "benchmark.json", "batch.json")
            return folder if any((Path(folder) / name).is_file() for name in files) else None
    named = {"learn": arguments[1:], "run": [str(out_for(Path(a), None)) for a in arguments[1:]]}
    named["localize"] = named["run"]
    return next((a for a in named.get("".join(arguments[:1]), []) if (Path(a) / "run.json").is_file()), None)


if __name__ == "__main__":
    main()
