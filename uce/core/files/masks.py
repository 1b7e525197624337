"""Folders of masks: one PNG per thing, above 127 is inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from uce.core.errors import RunFolderError, StageInputError, UceError, not_damaged

if TYPE_CHECKING:
    import numpy as np


def mask_paths(folder: Path) -> list[Path]:
    """The folder's PNGs, hidden files left out: numbered ones first, then by name, numbers within names by value."""
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith(".")]
    return sorted(found, key=lambda path: ([_part(part) for part in re.split(r"(\d+)", path.stem)], path.name))


def _part(text: str) -> tuple[bool, int, str]:
    number = text.isdecimal()
    return bool(text) and not number, int(text) if number else 0, text


def read_mask_of_size(path: Path, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A mask as bool (H, W).

    Raises:
        RunFolderError: it is no picture.
        StageInputError: it is of another size.
    """
    mask = read_mask(path)
    if mask.shape != size:
        raise StageInputError(
            f"mask {path} is {mask.shape[1]} x {mask.shape[0]} pixels, the picture is {size[1]} x {size[0]}; "
            "save it at the picture's size"
        )
    return mask


def read_mask(path: Path) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A mask PNG as bool (H, W): above 127 is inside.

    Raises:
        RunFolderError: missing or not a picture.
    """
    import numpy as np

    from uce.core.files.formats import open_picture, without_warnings
    from uce.core.files.pictures import check_size

    try:
        with open_picture(path) as picture, without_warnings():
            check_size(picture.size, f"mask {path}")
            return np.asarray(picture.convert("L")) > 127
    except UceError:
        raise
    except Exception as error:  # Pillow raises whatever its parsers meet in a damaged file
        not_damaged(error, f"mask {path}")
        raise RunFolderError(f"mask {path} is not a readable picture; give a black and white PNG") from error


Masks = npt.NDArray[np.bool_]


def mask_box(mask_hw: Masks) -> tuple[tuple[int, int], tuple[int, int]]:
    """First row and the one after the last, and the same of columns, of a mask that is not empty."""
    rows, columns = (np.flatnonzero(mask_hw.any(axis=axis)) for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
