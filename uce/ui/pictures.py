"""Pictures as parts of the page: addresses that hold them, a thing cut out."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from uce.core.files.formats import open_picture
from uce.core.files.masks import mask_box
from uce.core.files.pictures import RgbArray
from uce.ui.things import Thing


def address(picture: Image.Image, kind: str = "webp") -> str:
    """The picture as a data: address."""
    data = io.BytesIO()
    picture.save(data, kind, quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def file_address(path: Path, side: int) -> str:
    """The address of a picture file, at most `side` long; "" where it is gone."""
    try:
        return _file_address(path, path.stat().st_mtime_ns, side)
    except OSError:
        return ""


@lru_cache(maxsize=256)
def _file_address(path: Path, changed: int, side: int) -> str:
    with open_picture(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    return address(small)


def cut_out(pixels: RgbArray, thing: Thing, side: int = 96) -> Image.Image:
    """The thing alone on white, in a square."""
    (top, bottom), (left, right) = mask_box(thing.mask)
    box = (slice(top, bottom), slice(left, right))
    found = Image.fromarray(np.where(thing.mask[box][..., None], pixels[box], 255).astype(np.uint8))
    found.thumbnail((side - 8, side - 8))
    square = Image.new("RGB", (side, side), "white")
    square.paste(found, ((side - found.width) // 2, (side - found.height) // 2))
    return square
