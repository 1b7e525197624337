"""Painting a thing: what the brush in the browser (brush.html, brush.js) begins with, and what comes back.

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
from uce.ui.things import Array, Thing
from uce.ui.uploads import MAX_SIDE
from uce.ui.workspace import PictureWork

PAINT = (255, 64, 129)
"""The brush's colour."""
MAX_PAINTING = 4_000_000
"""Letters that a painting may have."""
_PNG = "data:image/png;base64,"
_HERE = Path(__file__).parent
TEMPLATE = (_HERE / "brush.html").read_text(encoding="utf-8")
SCRIPT = (_HERE / "brush.js").read_text(encoding="utf-8")


def brush_value(picture: PictureWork, thing: Thing | None) -> dict[str, Any]:
    """What the brush begins with: the picture, and the thing's mask as paint."""
    height, width = picture.pixels.shape[:2]
    mask = None
    if thing is not None:
        layer = np.zeros((height, width, 4), np.uint8)
        layer[thing.mask] = (*PAINT, 255)
        mask = _address(Image.fromarray(layer), "png")
    shown = _address(Image.fromarray(picture.pixels), "webp")
    return {"picture": shown, "mask": mask, "painted": mask, "width": width, "height": height}


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


def _address(picture: Image.Image, kind: str) -> str:
    """The picture as a data: address."""
    data = io.BytesIO()
    picture.save(data, kind, quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
