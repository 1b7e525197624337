"""The commands for what one does with tokens: draw, take them elsewhere, bring them in, keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uce.commands import completion as complete
from uce.commands.options import OUTPUT, ConceptList, Device, Json, Names, PluginFiles, Precision, Set, indexes, words

TOKENS, LOOKS, EDITING = "Which tokens", "What is drawn", "Painting into a photo"
PLACES = "Several things without blending"

Library = Annotated[
    Path | None,
    typer.Option("--library", metavar="FOLDER", help="The library (UCE_LIBRARY, or the user's data folder)."),
]
Run = Annotated[Path, typer.Argument(metavar="DIR", help="What `uce run`, `learn` or `import` wrote.")]
Licence = Annotated[
    str | None, typer.Option("--license", metavar="TEXT", help="What to say about rights, such as cc-by-4.0.")
]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.", rich_help_panel=OUTPUT)]
Entry = Annotated[str, typer.Argument(metavar="NAME", help="An entry of the library.", autocompletion=complete.entries)]

library_app = typer.Typer(help="Keep concepts of many pictures under names.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(generate)
    app.command()(export)
    app.command("import")(import_)
    app.command()(push)
    app.add_typer(library_app, name="library")


def generate(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the pictures go.")],
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT...", help='Such as "a photo of <asset1> in the snow".',
                       autocompletion=complete.prompts),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="DIR", help="A run whose tokens to use; repeat.", rich_help_panel=TOKENS),
    ] = None,
    concept: Annotated[
        list[str] | None,
        typer.Option(metavar="ENTRY:TOKEN[=NAME]", help="One token of a library entry or run folder; repeat.",
                     autocompletion=complete.picks, rich_help_panel=TOKENS),
    ] = None,
    library: Library = None,
    prompts_file: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="A text file with one prompt per line.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="Pictures per prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first picture.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Denoising steps; default: 25, or 8 for a model made for few steps."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, max=50, help="Classifier-free guidance scale; default: 5, or 1 for such a model."),
    ] = None,
    negative: Annotated[
        str, typer.Option(metavar="TEXT", help="What not to draw.", rich_help_panel=LOOKS, show_default=False)
    ] = "",
    scheduler: Annotated[
        str, typer.Option(metavar="NAME", help="The sampler: ddim, dpm++, euler, euler-a, heun, unipc, ...",
                          autocompletion=complete.schedulers, rich_help_panel=LOOKS)
    ] = "dpm++",
    grid: Annotated[
        bool, typer.Option("--grid", help="Also one contact sheet of all pictures.", rich_help_panel=LOOKS)
    ] = False,
    heat: Annotated[
        bool, typer.Option("--heat", help="Also show where each token worked.", rich_help_panel=LOOKS)
    ] = False,
    into: Annotated[
        Path | None, typer.Option(metavar="PHOTO", help="Paint into this photo.", rich_help_panel=EDITING)
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="White where to paint, at the photo's size.", rich_help_panel=EDITING),
    ] = None,
    regions: Annotated[
        bool, typer.Option("--regions", help="Each token acts in a region of its own.", rich_help_panel=PLACES)
    ] = False,
    layout: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON or YAML: token or word to box (0 to 1: x0, y0, x1, y1) or mask.",
                     rich_help_panel=PLACES),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Tokens act where this run's picture has them.", rich_help_panel=PLACES),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="M", help="Another model of the tokens' family; default: the run's own.",
                     rich_help_panel=LOOKS),
    ] = None,
    device: Device = None,
    plugin: PluginFiles = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Draw pictures with the tokens of runs and of the library."""
    from uce.terminal.progress import status
    from uce.tokens.drawing import draw, read_prompts

    texts = [*(prompts or []), *(read_prompts(prompts_file) if prompts_file else [])]
    with status(f"drawing {len(texts) * count} pictures", quiet=json_):
        paths = draw(
            texts, folder or [], out, concepts=concept or [], library=library, count=count, seed=seed, steps=steps,
            guidance=guidance, negative=negative, scheduler=scheduler, grid=grid, heat=heat, into=into, mask=mask,
            regions=regions, layout=layout, like=like, model=model, device=device, plugin=plugin or [],
        ).paths  # fmt: skip
    print(json.dumps([str(path) for path in paths]) if json_ else "\n".join(map(str, paths)))


def export(
    folder: Run,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME",
            help="diffusers, a1111, comfyui, hub-folder, or a plugin's.",
            autocompletion=complete.plugins("exporter"),
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the files go; others stay.")],
    concepts: ConceptList = None,
    names: Names = None,
    license_: Licence = None,
    set_: Set = None,
    plugin: PluginFiles = None,
    overwrite: Replace = False,
    json_: Json = False,
) -> None:
    """Write a run's tokens as another program reads them."""
    import uce
    from uce.terminal.tokens import show_export

    done = uce.export(
        folder, to, out, concepts=indexes(concepts), names=words(names), licence=license_, set=set_ or [],
        plugin=plugin or [], overwrite=overwrite,
    )  # fmt: skip
    show_export(done, json_)


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Embeddings: .safetensors, .bin, .pt, or a folder of the hub."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The run folder to write.")],
    model: Annotated[
        str | None, typer.Option(metavar="ID|FOLDER|FILE", help="The model that they belong to, as for uce run.")
    ] = None,
    names: Names = None,
    set_: Set = None,
    precision: Precision = None,
    plugin: PluginFiles = None,
    overwrite: Replace = False,
    json_: Json = False,
) -> None:
    """Turn embedding files of any layout into a run folder that draws."""
    import uce
    from uce.terminal.tokens import show_import

    run = uce.import_tokens(
        files, out, model=model, names=words(names), set=set_ or [], precision=precision, plugin=plugin or [],
        overwrite=overwrite,
    )  # fmt: skip
    show_import(run, json_)


def push(
    folder: Run,
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repository on the hub.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Also keep the uploaded folder here.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder; upload nothing.")] = False,
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    concepts: ConceptList = None,
    names: Names = None,
    license_: Licence = None,
    set_: Set = None,
    overwrite: Replace = False,
    json_: Json = False,
) -> None:
    """Upload a run's tokens and a model card to the Hugging Face hub."""
    import uce
    from uce.terminal.tokens import show_push

    done = uce.push(
        folder, repository, out, dry_run=dry_run, private=private, concepts=indexes(concepts), names=words(names),
        licence=license_, set=set_ or [], overwrite=overwrite,
    )  # fmt: skip
    show_push(done, json_)


@library_app.command("add")
def library_add(
    folder: Annotated[Path, typer.Argument(metavar="SOURCE", help="A run folder, or an embedding of any layout.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the entry is called.")],
    model: Annotated[
        str | None, typer.Option(metavar="ID|FOLDER|FILE", help="The model that an embedding belongs to.")
    ] = None,
    library: Library = None,
    overwrite: Replace = False,
    json_: Json = False,
) -> None:
    """Copy a run's tokens, masks and pictures, or an embedding, into the library."""
    import uce
    from uce.terminal.tokens import show_library

    found = uce.Library.open(library)
    if (folder / "run.json").is_file() or not folder.exists():
        found.add(uce.load(folder), name, overwrite=overwrite)
    else:
        found.add_files([folder], name, model=model, overwrite=overwrite)
    show_library(found, [name], json_)


@library_app.command("list")
def library_list(library: Library = None, json_: Json = False) -> None:
    """List every entry with its tokens."""
    import uce
    from uce.terminal.tokens import show_library

    found = uce.Library.open(library)
    show_library(found, found.names(), json_)


@library_app.command("show")
def library_show(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One entry; without it all.", autocompletion=complete.entries)
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The contact sheet to write.")] = Path(
        "contact-sheet.png"
    ),
    library: Library = None,
    json_: Json = False,
) -> None:
    """Write a contact sheet of one entry or of all, and list their tokens."""
    import uce
    from uce.terminal.tokens import show_library
    from uce.tokens.library import write_sheet

    found = uce.Library.open(library)
    write_sheet(found.sheet(name), out)
    show_library(found, found.names() if name is None else [name], json_, sheet=out)


@library_app.command("remove")
def library_remove(name: Entry, library: Library = None, json_: Json = False) -> None:
    """Delete an entry of the library."""
    import uce

    uce.Library.open(library).remove(name)
    print(json.dumps({"removed": name}) if json_ else f"removed {name}")
