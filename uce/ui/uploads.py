"""Pictures that people drop: read, bounded, made anew from their pixels, and the file they came in deleted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from PIL import Image

from uce.core.errors import ImageError
from uce.core.files.pictures import RgbArray, load_rgb

MAX_BYTES = 20_000_000
"""Of an uploaded file; larger ones are refused before they are read."""
MAX_SIDE = 1024
"""Longer pictures are made smaller: no model here looks at more."""
MIN_SIDE = 16


def take_picture(path: Path, cache: Path) -> RgbArray:
    """The pixels of an uploaded file, at most `MAX_SIDE` long; the file is deleted, whatever comes of it.

    Args:
        path: what the browser uploaded; it must lie within `cache`.

    Returns:
        uint8 (H, W, 3): what else was in the file (place, camera, anything hidden in it) is gone.

    Raises:
        ImageError: no picture, too large, or not an upload.
    """
    if not path.resolve().is_relative_to(cache.resolve()):
        raise ImageError("only a picture that was uploaded here can be used; drop the file on the page")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"the file is larger than {MAX_BYTES // 1_000_000} MB; save it smaller and try again")
        return bounded(load_rgb(path))
    except ImageError as error:
        raise ImageError(str(error).replace(f"picture '{path}'", "this file").replace(str(path), "the file")) from error
    except OSError as error:
        raise ImageError("the upload did not arrive; drop the picture again") from error
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def bounded(pixels: RgbArray) -> RgbArray:
    """The picture, made smaller where it is longer than `MAX_SIDE`.

    Raises:
        ImageError: too small to find anything in.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"the picture is only {width} x {height} pixels; give one of at least {MIN_SIDE} on each side")
    if max(height, width) <= MAX_SIDE:
        return pixels
    scale = MAX_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
