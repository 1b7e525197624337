"""Numbers wider than 8 bits as a picture: never black where they hold something."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from uce.core.errors import ImageError

log = logging.getLogger(__name__)
_DARK = 16
"""Of 255: what would come out darker than this everywhere is brightened to its own range."""


def to_8_bit(values: np.ndarray[Any, Any], name: str, top: float | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One wide channel as 8 bits.

    16-bit whole numbers count to 65535, others to 255 where none is larger, floats to 1 or, from 16 on, to 255. All
    else, and what would come out black, is scaled by its own range, with a line in the log.

    Args:
        values: (H, W) of whole numbers or floats.
        name: what the log calls the picture.
        top: the number for white, where the file says so.

    Raises:
        ImageError: no value is a finite number.
    """
    wide: np.ndarray[Any, np.dtype[np.floating[Any]]]
    wide = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    finite = np.isfinite(wide)
    if not finite.all():
        if not finite.any():
            raise ImageError(f"{name} holds no finite number; save it again with values from 0 to 1")
        log.warning("%s holds values that are no finite numbers; they are shown as black or white", name)
        low, high = float(wide[finite].min()), float(wide[finite].max())
        wide = np.nan_to_num(wide, nan=low, posinf=high, neginf=low)
    low, high = float(wide.min()), float(wide.max())
    white = top or _white(values.dtype, high)
    if low < 0 or high > white or 0 < high < white * _DARK / 255:
        log.warning("%s holds values from %.4g to %.4g; they are scaled by that range", name, low, high)
        low, white = min(low, 0.0), max(high, low + 1e-9)
    else:
        low = 0.0
    np.subtract(wide, low, out=wide)
    np.multiply(wide, 255.0 / (white - low), out=wide)
    return np.round(wide, out=wide).astype(np.uint8)


def _white(dtype: np.dtype[Any], high: float) -> float:
    """The number that means white to whoever wrote such numbers; 0 where there is no telling."""
    if dtype.kind == "u" and dtype.itemsize == 2:
        return 65535.0
    if dtype.kind == "f" and high <= 1:
        return 1.0
    return 255.0 if high <= 255 and (dtype.kind != "f" or high >= _DARK) else 0.0
