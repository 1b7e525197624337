"""Everything a person made, as one zip."""

from __future__ import annotations

import zipfile
from pathlib import Path

from uce.core.errors import ConfigError
from uce.ui.things import Thing
from uce.ui.workspace import Workspace

NAME = "my-words.zip"
LEFT_OUT = ("stages",)
"""Folders of a run that only save time."""


def bundle_of(workspace: Workspace) -> Path | None:
    """The zip as it was last written, None where nothing was learned."""
    path = workspace.folder / NAME
    return path if path.is_file() else None


def write_bundle(workspace: Workspace) -> Path:
    """The zip's file: a folder for every picture with words, and what was drawn.

    Raises:
        ConfigError: nothing was learned yet.
    """
    learned = [picture for picture in workspace.pictures if picture.run is not None]
    if not learned:
        raise ConfigError("there is nothing to download yet; learn some words first")
    path = workspace.folder / NAME
    aside = path.with_suffix(".part")
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("README.txt", _readme(workspace))
        for picture in learned:
            run = picture.folder / "learned"
            for file in sorted(p for p in run.rglob("*") if p.is_file()):
                inside = file.relative_to(run)
                if inside.parts[0] not in LEFT_OUT and not file.name.startswith("."):
                    bundle.write(file, f"{picture.name}/{inside}")
        for drawing in workspace.drawings:
            bundle.write(drawing.path, f"drawn/{drawing.path.name}")
    aside.replace(path)
    return path


def _readme(workspace: Workspace) -> str:
    """What is in the zip, for who opens it."""
    lines = ["What is in here", "==============="]
    for picture in workspace.pictures:
        if picture.run is not None:
            words = ", ".join(_word(thing) for thing in picture.learned_things)
            model = (picture.run.info.get("model") or {}).get("name")
            lines += [
                "",
                f"{picture.title}:",
                f"{picture.name}/report.html  open it in a browser: what was found, and why",
                f"{picture.name}/masks/       one black and white picture per thing",
                f"{picture.name}/tokens/      one file per word ({words}), learned with the model {model}",
                f"{picture.name}/samples/     what the words draw",
            ]
    lines += [
        "",
        "Draw with the words later:  uce generate 'a photo of <WORD>' --run FOLDER -o pictures",
        "For other programs:         uce export FOLDER --to diffusers|a1111|comfyui -o tokens",
        "A word is understood only by the model it was learned with.",
        "",
    ]
    return "\n".join(lines)


def _word(thing: Thing) -> str:
    """A token, and what its thing is called where that is something else."""
    return f"<{thing.name}>" if thing.title == thing.name else f"<{thing.name}> for {thing.title}"
