"""The command for many pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# isort: off
from uce.cli_options import (
    OUTPUT, Clusterer, ConceptList, ConfigFile, Device, Extractor, Initializer, Json, Model, Names, NoPlugin, Optimizer,
    PluginFiles, Precision, Preset, Refiner, Seed, Set, run_options,
)  # fmt: skip

# isort: on


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(batch)


def batch(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Pictures, folders, patterns, lists, URLs.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder for index and runs.")],
    executor: Annotated[str, typer.Option(metavar="NAME", help="local, processes, ray, or a plugin's.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many work at once (what there is room for).")
    ] = None,
    localize_only: Annotated[bool, typer.Option("--localize-only", help="Stages one to three only.")] = False,
    model: Model = None, extractor: Extractor = None, clusterer: Clusterer = None,
    refiner: Refiner = None, initializer: Initializer = None, optimizer: Optimizer = None, set_: Set = None,
    config: ConfigFile = None, preset: Preset = None, seed: Seed = None, concepts: ConceptList = None,
    names: Names = None, device: Device = None, precision: Precision = None, plugin: PluginFiles = None,
    no_plugin: NoPlugin = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the batch in the folder.", rich_help_panel=OUTPUT)
    ] = False,
    json_: Json = False,
) -> None:  # fmt: skip
    """Run many pictures; give the same command again to go on where it stopped."""
    given = locals()
    import uce
    from uce.terminal_batch import batch_observers, show_batch

    options = {**run_options(given, json_), "observers": batch_observers(json_)}
    if not show_batch(uce.batch(sources, out, **options), json_):
        raise typer.Exit(2)
