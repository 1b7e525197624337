"""The options that commands share, each described once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from uce.commands import completion as complete

Command = TypeVar("Command", bound=Callable[..., Any])

STAGES, PLUGINS, OUTPUT = "Stages", "Plugins", "Output"

Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="The picture: PNG, JPEG, WebP, TIFF, ...; - reads standard input.")
]
Out = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="DIR", help="The run folder to write; default: IMAGE's name-uce.")
]
Model = Annotated[
    str | None,
    typer.Option(metavar="ID|FOLDER|FILE", help="mini (embedded, default), a diffusers folder, a .safetensors file, "
                 "sd1.5, sd2.1, sdxl or a hub id.", autocompletion=complete.models),
]  # fmt: skip


def _stage(stage: str, help: str) -> Any:
    """The option that chooses a stage's plugin."""
    return typer.Option(metavar="NAME", help=help, rich_help_panel=STAGES, autocompletion=complete.plugins(stage))


Extractor = Annotated[str | None, _stage("extractor", "Attention extraction.")]
Foreground = Annotated[str | None, _stage("foreground", "What of the picture clusterers see.")]
Clusterer = Annotated[str | None, _stage("clusterer", "Clustering of cells.")]
Refiner = Annotated[list[str] | None, _stage("refiner", "Mask refinement; a+b or repeat for a chain, +a to append.")]
Initializer = Annotated[str | None, _stage("initializer", "Token starts.")]
Optimizer = Annotated[str | None, _stage("optimizer", "Token learning.")]
Compare = Annotated[
    bool, typer.Option("--compare", help="Also try the presets on photographs with masks, and say which to use.")
]
ComparePictures = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="With --compare: pictures of your own, too.")
]
CompareOut = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="DIR", help="With --compare: keep the runs there, and resume.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, such as optimizer.steps=200; repeat.",
        autocompletion=complete.settings,
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A YAML configuration.")]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="default (chosen on mini, not tried on real weights; see doctor --compare), or paper: as published.",
        autocompletion=complete.presets,
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="All randomness derives from it (0).")]
ConceptList = Annotated[
    str | None,
    typer.Option("--concepts", metavar="0,2", help="Learn only these concepts.", autocompletion=complete.indexes),
]
Names = Annotated[str | None, typer.Option("--names", metavar="cup,cat", help="Names for the tokens, in order.")]
Device = Annotated[
    str | None, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:N or mps.", autocompletion=complete.devices)
]
Precision = Annotated[
    str | None,
    typer.Option(metavar="P", help="auto, float32, bfloat16 or float16.", autocompletion=complete.precisions),
]
PluginFiles = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="X", help="A plugin: file.py or package.module:object.", rich_help_panel=PLUGINS),
]
NoPlugin = Annotated[
    list[str] | None,
    typer.Option(
        "--no-plugin",
        metavar="NAME",
        help="Leave a plugin out.",
        autocompletion=complete.plugins(),
        rich_help_panel=PLUGINS,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.", rich_help_panel=OUTPUT)]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, nothing else.", rich_help_panel=OUTPUT)
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no report.html at the end.", rich_help_panel=OUTPUT)]
Tracker = Annotated[
    list[str] | None,
    typer.Option("--tracker", metavar="NAME", help="Also follow it in tensorboard, trackio or wandb; repeat.",
                 rich_help_panel=OUTPUT, autocompletion=complete.trackers),
]  # fmt: skip
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin and its folder, such as my-localizer.")]
NewStage = Annotated[
    str,
    typer.Option(
        "--stage",
        metavar="S",
        help="extractor, foreground, clusterer, refiner, initializer, optimizer; encoder, exporter, executor, backbone "
        "or observer.",
        autocompletion=complete.stages,
    ),
]
ParentFolder = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="The parent folder; default: this one.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Allow a built-in's name, and take its place.")]

RUN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "model": (Model, None),
    "extractor": (Extractor, None),
    "foreground": (Foreground, None),
    "clusterer": (Clusterer, None),
    "refiner": (Refiner, None),
    "initializer": (Initializer, None),
    "optimizer": (Optimizer, None),
    "set_": (Set, None),
    "config": (ConfigFile, None),
    "preset": (Preset, None),
    "seed": (Seed, None),
    "concepts": (ConceptList, None),
    "names": (Names, None),
    "device": (Device, None),
    "precision": (Precision, None),
    "plugin": (PluginFiles, None),
    "no_plugin": (NoPlugin, None),
    "resume": (Resume, False),
    "overwrite": (Overwrite, False),
}
"""Flags of `uce run` that other commands share: parameter -> type and default."""


def takes_run_options(*without: str) -> Callable[[Command], Command]:
    """Give a command that ends in `**options` the flags of `uce run`, but for those named."""
    return takes_options({name: option for name, option in RUN_OPTIONS.items() if name not in without})


def takes_options(options: Mapping[str, tuple[Any, Any]]) -> Callable[[Command], Command]:
    """Give a command that ends in `**options` these flags: parameter -> type and default.

    typer reads flags from the signature; written once, they are the same for every command.
    """
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    def give(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        own = [
            one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for one in inspect.signature(command).parameters.values()
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        last = [one for one in own if one.name == "json_"]  # so that help lists it last
        parameters = [*(one for one in own if one not in last), *shared, *last]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return give


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


def run_options(given: dict[str, Any], quiet: bool, *observers: Any) -> dict[str, Any]:
    """What a command with `takes_run_options` was given -> keyword arguments of `uce.run`, with progress bars and
    further observers; what was not given is left out."""
    from uce.terminal.progress import observers as progress

    given = {key.removesuffix("_"): value for key, value in given.items() if value is not None}
    given["concepts"], given["names"] = indexes(given.get("concepts")), words(given.get("names"))
    return {**given, "observers": [*progress(quiet), *observers]}
