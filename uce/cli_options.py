"""The options that commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

STAGES, PLUGINS, OUTPUT = "Stages", "Plugins", "Output"

Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture: PNG, JPEG, WebP, TIFF, ...")]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The run folder to write.")]
Model = Annotated[
    str | None,
    typer.Option(metavar="ID|FOLDER|FILE", help="mini (embedded, default), a diffusers folder, a .safetensors file, "
                 "sd1.5, sd2.1, sdxl or a hub id."),
]  # fmt: skip
Extractor = Annotated[str | None, typer.Option(metavar="NAME", help="Attention extraction.", rich_help_panel=STAGES)]
Clusterer = Annotated[str | None, typer.Option(metavar="NAME", help="Clustering of cells.", rich_help_panel=STAGES)]
Refiner = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Mask refinement; repeat for a chain.", rich_help_panel=STAGES)
]
Initializer = Annotated[str | None, typer.Option(metavar="NAME", help="Token starts.", rich_help_panel=STAGES)]
Optimizer = Annotated[str | None, typer.Option(metavar="NAME", help="Token learning.", rich_help_panel=STAGES)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as optimizer.steps=200; repeat."),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A YAML configuration.")]
Preset = Annotated[str | None, typer.Option(metavar="NAME", help="default, or paper: the method as published.")]
Seed = Annotated[int | None, typer.Option(min=0, help="All randomness derives from it (0).")]
ConceptList = Annotated[str | None, typer.Option("--concepts", metavar="0,2", help="Learn only these concepts.")]
Names = Annotated[str | None, typer.Option("--names", metavar="cup,cat", help="Names for the tokens, in order.")]
Device = Annotated[str | None, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str | None, typer.Option(metavar="P", help="auto, float32, bfloat16 or float16.")]
PluginFiles = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="X", help="A plugin: file.py or package.module:object.", rich_help_panel=PLUGINS),
]
NoPlugin = Annotated[
    list[str] | None, typer.Option("--no-plugin", metavar="NAME", help="Leave a plugin out.", rich_help_panel=PLUGINS)
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.", rich_help_panel=OUTPUT)]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, nothing else.", rich_help_panel=OUTPUT)
]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin and its folder, such as my-localizer.")]
NewStage = Annotated[
    str, typer.Option("--stage", metavar="S", help="extractor, clusterer, refiner, initializer or optimizer.")
]
ParentFolder = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="The parent folder; default: this one.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Allow a built-in's name, and take its place.")]


def words(text: str | None) -> list[str] | None:
    """Parts of "cup,cat"."""
    return None if text is None else [part.strip() for part in text.split(",")]


def indexes(text: str | None) -> list[int] | None:
    """Numbers of "0,2"."""
    from uce.core.errors import ConfigError

    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--concepts {text}: give indexes separated by commas, such as 0,2") from error


def run_options(given: dict[str, Any], quiet: bool) -> dict[str, Any]:
    """A command's parameters -> keyword arguments of `uce.run`; what it passes by itself is left out."""
    from uce.terminal import observers

    own = ("image", "images", "sources", "out", "folder", "vary", "json_")
    given = {key.removesuffix("_"): value for key, value in given.items() if key not in own and value is not None}
    given["concepts"], given["names"] = indexes(given.get("concepts")), words(given.get("names"))
    return {**given, "observers": observers(quiet)}
