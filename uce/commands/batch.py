"""The command for many pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uce.commands import completion as complete
from uce.commands.options import OUTPUT, Json, run_options, takes_run_options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(batch)


@takes_run_options("resume", "overwrite")
def batch(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Pictures, folders, patterns, lists, data sets, URLs.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder for index and runs.")],
    executor: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="local, processes, ray, or a plugin's.", autocompletion=complete.plugins("executor")
        ),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many work at once (what there is room for).")
    ] = None,
    localize_only: Annotated[bool, typer.Option("--localize-only", help="Stages one to three only.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the batch in the folder.", rich_help_panel=OUTPUT)
    ] = False,
    json_: Json = False,
    **options: Any,
) -> None:
    """Run many pictures; give the same command again to go on where it stopped."""
    import uce
    from uce.terminal.many import batch_observers, show_batch

    options = {**run_options(options, json_), "observers": batch_observers(json_)}
    work: dict[str, Any] = {
        "executor": executor,
        "workers": workers,
        "localize_only": localize_only,
        "overwrite": overwrite,
    }
    if not show_batch(uce.batch(sources, out, **work, **options), json_):
        raise typer.Exit(2)
