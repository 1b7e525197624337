"""Folders of masks: one PNG per thing, above 127 is inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import StageInputError
from uce.core.run import read_mask

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
