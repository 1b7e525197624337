"""The files of drawn pictures: one each, a sheet of all, where each token worked, and what is written into them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.files.writing import exists
from uce.tokens.gathering import Owned

if TYPE_CHECKING:
    from PIL import Image


def facts_of(backbone: Any, tokens: Sequence[Owned], how: Mapping[str, Any], scheduler: str) -> dict[str, str]:
    """Text chunks that all pictures share: no folder of this machine, nothing that changes from call to call."""
    from uce.version import __version__

    name = str(backbone.model)
    owners = {one.token: f"{Path(one.owner).name}:{one.own.strip('<>')}" for one in tokens}
    return {
        "tokens": json.dumps(owners, sort_keys=True),
        "model": Path(name).name if exists(Path(name)) else name,
        "model fingerprint": str(backbone.fingerprint),
        "steps": str(how["steps"]),
        "guidance": str(how["guidance"]),
        "scheduler": scheduler,
        "negative prompt": str(how.get("negative", "")),
        **({"regions": ", ".join(how["regions"].masks)} if how.get("regions") else {}),
        "Software": f"uce {__version__}",
    }


def write_pictures(
    folder: Path, pairs: Sequence[tuple[str, int]], pictures: Sequence[Image.Image], facts: Mapping[str, str]
) -> list[Path]:
    from uce.core.files.writing import write_picture

    paths: list[Path] = []
    for (text, seed), picture in zip(pairs, pictures, strict=True):
        paths.append(_free_name(folder, f"{_stem(text)}-s{seed}"))
        write_picture(paths[-1], picture, {"prompt": text, "seed": str(seed), **facts})
    return paths


def write_grid(
    folder: Path,
    texts: Sequence[str],
    pairs: Sequence[tuple[str, int]],
    pictures: Sequence[Image.Image],
    facts: Mapping[str, str],
) -> Path:
    """A row for every prompt, a column for every seed; one picture per prompt: all side by side."""
    from uce.core.files.writing import write_picture
    from uce.core.runs.contact_sheet import Tile, contact_sheet

    count = len(pairs) // len(texts)
    tiles = [
        Tile(picture, f"seed {seed}" if count > 1 else text, f"seed {seed}" if count == 1 else "")
        for (text, seed), picture in zip(pairs, pictures, strict=True)
    ]
    width = count if count > 1 else 4
    rows = [
        (text if count > 1 else "", tiles[start : start + width])
        for start, (text, _) in list(enumerate(pairs))[::width]
    ]
    path = _free_name(folder, "grid")
    write_picture(path, contact_sheet(rows), {"prompt": "\n".join(texts), **facts})
    return path


def write_heat(
    paths: Sequence[Path],
    pairs: Sequence[tuple[str, int]],
    pictures: Sequence[Image.Image],
    maps: Sequence[Mapping[str, Any]],
    facts: Mapping[str, str],
) -> list[Path]:
    """Beside every picture with tokens in its prompt: the picture, and where each token worked."""
    from uce.core.files.writing import write_picture
    from uce.core.model.heat import paint_heat
    from uce.core.runs.contact_sheet import Tile, contact_sheet

    written = []
    for path, (text, seed), picture, heat in zip(paths, pairs, pictures, maps, strict=False):
        if heat:
            tiles = [Tile(picture, f"seed {seed}"), *(Tile(paint_heat(picture, h), t) for t, h in heat.items())]
            written.append(_free_name(path.parent, f"{path.stem}-heat"))
            write_picture(written[-1], contact_sheet([(text, tiles)]), {"prompt": text, "seed": str(seed), **facts})
    return written


def _stem(text: str) -> str:
    """A name from the prompt's letters and digits."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "picture"


def _free_name(folder: Path, stem: str) -> Path:
    """An earlier picture is never replaced."""
    names: Iterator[str] = (f"{stem}{'' if n == 1 else f'-{n}'}.png" for n in range(1, 1_000_000))
    return next(folder / name for name in names if not (folder / name).exists())
