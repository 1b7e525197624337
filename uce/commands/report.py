"""The command that makes pages of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from uce.commands.options import OUTPUT, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="A run folder; with --compare several, or an ablation's.")
    ],
    compare: Annotated[bool, typer.Option("--compare", help="One page that sets all DIR side by side.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="The page; default: DIR/report.html, or compare.html here.",
                     rich_help_panel=OUTPUT),
    ] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Write a page that shows and explains a run: one HTML file, no network needed."""
    import uce

    path = uce.report(folders if compare else _only(folders), out, compare=compare)
    size = path.stat().st_size
    print(
        json.dumps({"file": str(path), "bytes": size})
        if json_
        else f"{path} ({size / 1e6:.1f} MB), open it in a browser"
    )


def _only(folders: list[Path]) -> Path:
    from uce.core.errors import ConfigError

    if len(folders) > 1:
        raise ConfigError(f"a report is about one run, found {len(folders)} folders; compare them with --compare")
    return folders[0]


def writers(wanted: bool) -> list[Any]:
    """The observer that writes the report at the end of a run, where it is wanted."""
    from uce.reporting.observer import ReportWriter

    return [ReportWriter()] if wanted else []
