"""The commands for one picture: run, localize, learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uce.commands.options import Image, Json, NoReport, Out, Tracker, run_options, takes_run_options
from uce.commands.report import writers

STDIN = Path("-")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (run, localize, learn):
        app.command()(command)


def out_for(image: Path, out: Path | None) -> Path:
    return out or Path("stdin-uce" if image == STDIN else f"{image.stem}-uce")


def _source(image: Path) -> Any:
    """The picture that IMAGE names: a file, or what is piped in."""
    if image != STDIN:
        return image
    from uce.core.files.pictures import read_stdin

    return read_stdin()


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
    from uce.terminal.runs import show_run

    options = {**run_options(options, json_, *writers(not no_report)), "tracker": tracker or []}
    show_run(uce.run(_source(image), out_for(image, out), **options), json_)


@takes_run_options()
def localize(image: Image, out: Out = None, json_: Json = False, **options: Any) -> None:
    """Find the things in IMAGE; edit the masks if you like, then `uce learn DIR`."""
    import uce
    from uce.terminal.runs import show_run

    out = out_for(image, out)
    uce.localize(_source(image), out, **run_options(options, json_))
    show_run(uce.load(out), json_)


@takes_run_options("model", "extractor", "clusterer", "refiner", "config", "preset")
def learn(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="What `uce localize` wrote; several with --same.")
    ],
    same: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR:K,...", help="One thing in several folders, such as cup=A:0,B:2; repeat."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="With --same: the run folder to write.")
    ] = None,
    no_report: NoReport = False,
    tracker: Tracker = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Learn a token for every mask as it lies in DIR/masks now, or one for each thing that several folders show."""
    import uce
    from uce.terminal.runs import show_run

    options = {**run_options(options, json_, *writers(not no_report)), "tracker": tracker or []}
    show_run(uce.learn(folders, same=same or None, out=out, **options), json_)
