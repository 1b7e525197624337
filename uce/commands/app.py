"""The whole command line as one object: the options before a command, and every command in the order of the help."""

from __future__ import annotations

from typing import Annotated

import typer

from uce.commands import ablate, batch, doctor, match, measure, plugins, report, run, tokens, ui
from uce.core import logs
from uce.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="One picture in; masks and learned concept tokens out.",
    epilog="Start with: uce run PICTURE -o out",
)
GROUPS = {"plugins": plugins.plugins_app, "library": tokens.library_app}


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


for part in (measure, run, match, ablate, batch, tokens, report, ui, doctor, plugins):
    part.register(app)
