"""The picture with its things, as sheet.html and sheet.js show it: what they begin with, and what comes back.

Gradio's own editor draws with WebGL: without a graphics card a stroke takes seconds, and it uploads its layers anew at
every update of the page.
"""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from uce.core.errors import ImageError
from uce.core.runs.overlay import concept_colors, inner_point
from uce.reporting.outline import svg_path
from uce.ui.picture_work import PictureWork
from uce.ui.pictures import address
from uce.ui.things import Array, Thing
from uce.ui.uploads import MAX_SIDE

PAINT = (255, 64, 129)
"""The brush's colour."""
MAX_PAINTING = 4_000_000
"""Letters that a painting may have."""
_PNG = "data:image/png;base64,"
_HERE = Path(__file__).parent
TEMPLATE = (_HERE / "sheet.html").read_text(encoding="utf-8")
SCRIPT = (_HERE / "sheet.js").read_text(encoding="utf-8")


def sheet_value(picture: PictureWork, selected: str | None) -> dict[str, Any]:
    """What the sheet shows: the picture, and every thing's outline."""
    height, width = picture.pixels.shape[:2]
    rows = zip(picture.things, concept_colors(len(picture.things)), strict=True)
    things = [_shown(thing, number, color, thing.name == selected) for number, (thing, color) in enumerate(rows, 1)]
    return {"picture": picture.address, "width": width, "height": height, "things": things, "painting": None}


def brush_value(picture: PictureWork, thing: Thing | None) -> dict[str, Any]:
    """What the brush begins with: the sheet with the other things' outlines, and the thing's mask as paint."""
    height, width = picture.pixels.shape[:2]
    mask = None
    if thing is not None:
        layer = np.zeros((height, width, 4), np.uint8)
        layer[thing.mask] = (*PAINT, 255)
        mask = address(Image.fromarray(layer), "png")
    sheet = sheet_value(picture, None)
    others = [one for one in sheet["things"] if thing is None or one["name"] != thing.name]
    return {**sheet, "things": others, "painting": {"mask": mask}, "painted": mask}


def _shown(thing: Thing, number: int, color: tuple[int, int, int], chosen: bool) -> dict[str, Any]:
    red, green, blue = color
    row, column = inner_point(thing.mask)
    return {
        "name": thing.name,
        "title": thing.title,
        "number": number,
        "color": f"#{red:02x}{green:02x}{blue:02x}",
        "ink": "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff",
        "path": svg_path(thing.mask),
        "at": f"{column:.1f} {row:.1f}",
        "chosen": chosen,
        "wanted": thing.wanted,
    }


def read_painting(value: Any, size: tuple[int, int]) -> Array:
    """What was painted, bool (H, W).

    Args:
        value: of the brush, as a browser sends it.
        size: (H, W) of the picture.

    Raises:
        ImageError: it is no painting.
    """
    text = value.get("painted") if isinstance(value, dict) else None
    if text is None:
        return np.zeros(size, bool)
    if not isinstance(text, str) or not text.startswith(_PNG) or len(text) > MAX_PAINTING:
        raise ImageError("the painting did not arrive; paint it again")
    try:
        data = base64.b64decode(text[len(_PNG) :], validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as layer:
            if max(layer.size) > MAX_SIDE:
                raise ImageError("the painting is larger than the picture; paint it again")
            alpha = layer.convert("RGBA").getchannel("A")
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        raise ImageError("the painting did not arrive; paint it again") from error
    if alpha.size != size[::-1]:
        alpha = alpha.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(alpha) > 60
