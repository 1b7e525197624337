"""The command that finds the same thing in several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uce.commands.options import OUTPUT, Device, Json, PluginFiles


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(match)


def match(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Two run folders or more, of one model.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="The picture to confirm by.", rich_help_panel=OUTPUT),
    ] = Path("match.png"),
    threshold: Annotated[
        float | None,
        typer.Option(metavar="S", min=-1, max=1, help="Least score of a pair; higher proposes fewer and surer ones."),
    ] = None,
    device: Device = None,
    plugin: PluginFiles = None,
    json_: Json = False,
) -> None:
    """Propose which concepts of several runs are the same thing, and print the line that learns them as one."""
    import uce
    from uce.terminal.matches import show_matches

    given = {} if threshold is None else {"threshold": threshold}
    show_matches(uce.match(folders, out, device=device, plugin=plugin or (), **given), json_)
