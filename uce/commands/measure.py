"""The commands that measure: parse, call the public interface, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uce.commands import completion as complete
from uce.commands.options import (
    OUTPUT,
    Device,
    Json,
    Model,
    NoPlugin,
    Overwrite,
    PluginFiles,
    Precision,
    Seed,
    takes_options,
)  # fmt: skip

DRAWN, PICTURES, METHODS = "What is drawn", "Pictures", "Methods"

Encoders = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="efficientnet-lite0 (default), clip, siglip, dino, or a plugin's; repeat.",
        autocompletion=complete.plugins("encoder"),
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One setting, such as encoder.model=FOLDER or evaluate.fill=black; repeat."
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="True masks: one label PNG, or one folder of masks, per picture's name."),
]
MasksOnly = Annotated[bool, typer.Option("--masks-only", help="Only compare masks with the truth; needs no tokens.")]
Count = Annotated[
    int | None,
    typer.Option("-n", "--count", min=1, max=1000, help="Pictures per concept (8).", rich_help_panel=DRAWN),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="What tokens are asked for: default, none, or a YAML file.", rich_help_panel=DRAWN
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help='{} stands for the token or tokens ("a photo of {}").', rich_help_panel=DRAWN),
]
Steps = Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps (25).", rich_help_panel=DRAWN)]
Guidance = Annotated[
    float | None,
    typer.Option(min=0, max=50, help="Classifier-free guidance scale (5).", rich_help_panel=DRAWN),
]


MEASURING: dict[str, tuple[Any, Any]] = {
    "encoder": (Encoders, None),
    "set_": (Settings, None),
    "truth": (Truth, None),
    "masks_only": (MasksOnly, False),
    "count": (Count, None),
    "prompt": (Prompt, None),
    "prompts": (Prompts, None),
    "steps": (Steps, None),
    "guidance": (Guidance, None),
    "device": (Device, None),
    "plugin": (PluginFiles, None),
    "no_plugin": (NoPlugin, None),
}
"""Flags of everything that measures: parameter -> type and default."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(evaluate)
    app.command()(benchmark)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """What was given of them, as the public interface calls it."""
    return {key.removesuffix("_"): value for key, value in options.items() if value is not None}


@takes_options(MEASURING)
def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `uce run` wrote.")],
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first picture (0).", rich_help_panel=DRAWN)
    ] = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Measure finished runs: likeness, prompts, bleeding; with --truth also their masks."""
    import uce
    from uce.terminal.measures import say, show_evaluation
    from uce.terminal.progress import drawing_bar

    with drawing_bar() as progress:
        result = uce.evaluate(runs, seed=seed, report=say, progress=progress, **_given(options))
    show_evaluation(result, json_)


@takes_options(MEASURING)
def benchmark(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where runs and tables go.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="METHOD...", help="Further methods, after those of --methods.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods",
            metavar="METHOD...",
            help="A known method (default, paper, lower-bound, ...), all of them (all), or NAME=KEY=VALUE,KEY=VALUE.",
            rich_help_panel=METHODS,
        ),
    ] = None,
    methods_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML: method name to configuration.", rich_help_panel=METHODS),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(metavar="SET", help="validation (default), test, or a folder.", rich_help_panel=PICTURES),
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Compose new scenes from these objects.", rich_help_panel=PICTURES),
    ] = None,
    per_kind: Annotated[
        int, typer.Option(min=1, max=1000, help="Composed scenes of each kind.", rich_help_panel=PICTURES)
    ] = 2,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many, spread over the set.", rich_help_panel=PICTURES)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Only pictures with this label; repeat.", rich_help_panel=PICTURES),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Four pictures, few steps: a look within minutes.")] = False,
    model: Model = None,
    seed: Seed = None,
    precision: Precision = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on; methods and pictures may be added.", rich_help_panel=OUTPUT),
    ] = False,
    overwrite: Overwrite = False,
    json_: Json = False,
    **options: Any,
) -> None:
    """Run and measure several methods over a set of pictures: CSV, Markdown, HTML."""
    import uce
    from uce.terminal.measures import say, show_benchmark
    from uce.terminal.progress import drawing_bar

    with drawing_bar() as progress:
        result = uce.benchmark(
            out,
            pictures=pictures,
            objects=objects,
            per_kind=per_kind,
            limit=limit,
            label=label or (),
            methods=[*(methods or []), *(more or [])],
            methods_file=methods_file,
            quick=quick,
            resume=resume,
            overwrite=overwrite,
            report=say,
            progress=progress,
            **_given({**options, "model": model, "seed": seed, "precision": precision}),
        )
    show_benchmark(result, json_)
