"""The things of a drawn picture: found by localisation, kept beside it.

The preset's localisation is the same for every method that is compared, whatever found the run's own masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from uce import api
from uce.core.errors import NothingFoundError
from uce.core.files.formats import open_picture
from uce.core.files.pictures import RgbArray
from uce.core.files.writing import write_picture
from uce.core.work.held import Run


def find_things(run: Run, path: Path, device: str | None, plugin: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Masks of the things in a drawn picture.

    Args:
        run: whose model looks for them.
        path: the picture; the masks lie beside it as labels, and are found again.

    Returns:
        bool (T, S, S), disjoint; T may be 0.

    Raises:
        UceError: the model cannot localise.
    """
    kept = path.with_name(f"things-{path.name}")
    labels = _read(kept)
    if labels is None:
        with open_picture(path) as picture:
            labels = _localised(run, np.asarray(picture.convert("RGB")), device, plugin)
        write_picture(kept, Image.fromarray(labels))
    numbers = np.unique(labels[labels > 0])
    masks: npt.NDArray[np.bool_] = labels[None] == numbers[:, None, None]
    return masks


def _localised(run: Run, picture: RgbArray, device: str | None, plugin: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Labels (S, S): 0 for nothing, then thing by thing."""
    try:
        found = api.localize(picture, model=run.backbone(device, plugin), plugin=tuple(plugin))
    except NothingFoundError:
        return np.zeros(picture.shape[:2], np.uint8)
    assert found.pixel_masks is not None
    numbers = np.arange(1, len(found.pixel_masks) + 1, dtype=np.uint8)[:, None, None]
    labels: npt.NDArray[np.uint8] = (found.pixel_masks.numpy() * numbers).max(axis=0)
    return labels


def _read(path: Path) -> npt.NDArray[np.uint8] | None:
    try:
        with open_picture(path) as picture:
            return np.asarray(picture.convert("L"))
    except (OSError, ValueError, SyntaxError):
        return None
