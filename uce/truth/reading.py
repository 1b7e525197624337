"""True masks from a folder (`--truth`): per picture one label PNG of the same stem, or a folder of masks.

Legend: T true things; H, W the picture's pixels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from uce.core.errors import ConfigError, ImageError, unknown_name
from uce.core.files.formats import open_picture

LAYOUT = "one 8-bit label PNG per picture (0 nothing; 1, 2, ... things) or one folder of mask PNGs per picture"


def read_truth(folder: str | Path, stem: str, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The true things of one picture.

    Args:
        folder: holds `stem`.png, an 8-bit PNG of one channel (or a palette) whose values are labels: 0 nothing, every
            other value one thing; or a folder `stem` with one mask PNG per thing (above 127 is inside). Things come
            in the order of their labels, or of the masks' names (numbers by value).
        stem: the picture's file name without its suffix.
        size: (H, W) of the picture.

    Returns:
        bool (T, H, W), T > 0, no mask empty; label PNGs give disjoint masks.

    Raises:
        ConfigError: the folder, or the picture's truth in it, is missing or there twice.
        ImageError: a PNG is unreadable, of another size, of the wrong kind, or shows nothing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"--truth {folder}: there is no such folder; give one that holds {LAYOUT}")
    labels, masks = folder / f"{stem}.png", folder / stem
    if labels.is_file() and masks.is_dir():
        raise ConfigError(f"--truth: {labels} and the folder {masks} both tell the truth; keep one of them")
    if labels.is_file():
        return _from_labels(labels, size)
    if masks.is_dir():
        return _from_masks(masks, size)
    known = sorted({path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".png"})
    raise ConfigError(f"--truth {folder}: {unknown_name('picture', stem, known)} It should hold {LAYOUT}")


def _from_labels(path: Path, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    values, mode = _read(path, size)
    if mode not in ("L", "P", "1"):
        raise ImageError(
            f"truth {path} has the mode {mode}; save labels as 8-bit greyscale or palette: 0 nothing, 1, 2, ... things"
        )
    numbers = np.unique(values[values > 0])
    if not len(numbers):
        raise ImageError(f"truth {path} shows no thing, every pixel is 0; draw things as 1, 2, ... or leave it out")
    return np.stack([values == number for number in numbers])


def _from_masks(folder: Path, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    paths = sorted((path for path in folder.iterdir() if path.suffix.lower() == ".png"), key=_order)
    if not paths:
        raise ConfigError(f"--truth: {folder} holds no PNG; save one black and white mask per thing in it")
    masks = []
    for path in paths:
        values, mode = _read(path, size, grey=True)
        masks.append(values > 127)
        if not masks[-1].any():
            raise ImageError(f"truth {path} ({mode}) shows no thing, no pixel is above 127; draw on it or delete it")
    return np.stack(masks)


def _order(path: Path) -> tuple[bool, int, str]:
    """Numbered masks by number, then the others by name."""
    number = path.stem.isdecimal()
    return not number, int(path.stem) if number else 0, path.stem


def _read(path: Path, size: tuple[int, int], grey: bool = False) -> tuple[npt.NDArray[Any], str]:
    """Values (H, W) and the file's mode; `grey` converts whatever it is to 8-bit grey first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_picture(path) as picture:
                mode, found = picture.mode, (picture.height, picture.width)
                if found != size:
                    raise ImageError(
                        f"truth {path} is {found[1]} x {found[0]} pixels, the picture is {size[1]} x {size[0]}; "
                        "save it at the picture's size"
                    )
                return np.asarray(picture.convert("L") if grey else picture), mode
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"truth {path} is not a readable picture; give a PNG") from error
