"""The command that compares configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uce.commands import completion as complete
from uce.commands.options import Json, run_options, takes_run_options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ablate)


@takes_run_options()
def ablate(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="The pictures.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder for tables and runs.")],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2",
            help="What varies: a stage, model, preset, seed, or a key of --set; 'KEY={NAME: {plugin: P, K: V}, ...}' "
            "for variants, or a YAML file; repeat.",
        ),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="Each single change of the base, not every combination.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Also draw from the tokens: likeness, prompts, bleeding.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Who compares (efficientnet-lite0).", autocompletion=complete.plugins("encoder")
        ),
    ] = None,
    localize_only: Annotated[bool, typer.Option("--localize-only", help="Stages one to three only.")] = False,
    truth: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="True masks: label PNGs, or a folder of masks per picture.")
    ] = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Compare configurations: every combination of --vary on every IMAGE, and a table of what each is worth."""
    import uce
    from uce.terminal.many import ablation_observers, show_ablation
    from uce.terminal.progress import drawing_bar

    options = {**run_options(options, json_), "observers": ablation_observers(vary or [], localize_only, json_)}
    grid: dict[str, Any] = {"one_at_a_time": one_at_a_time, "localize_only": localize_only, "truth": truth}
    grid |= {"evaluate": evaluate, "encoder": encoder}
    with drawing_bar() as progress:
        result = uce.ablate(images, out, vary=vary or [], progress=progress, **grid, **options)
    if not show_ablation(result, json_):
        raise typer.Exit(2)
