"""The pictures of an ablation, read once, each under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from uce.core.errors import ConfigError
from uce.core.files.pictures import PictureSource, RgbArray
from uce.core.flow.picture import load_rgb
from uce.truth.reading import read_truth


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture.

    Attributes:
        name: of its folder and in the tables: the file's stem, as `--truth` looks it up.
        file: what run.json calls it.
        original: uint8 (H, W, 3).
        truth: bool (T, H, W), or None where there is none.
    """

    name: str
    file: str
    original: RgbArray
    truth: npt.NDArray[np.bool_] | None


def read_subjects(sources: Sequence[PictureSource], truth: Path | None) -> list[Subject]:
    """Read every picture and its truth, so that what is wrong with one is said before anything runs.

    Raises:
        ConfigError: no picture, two of one name, or truth that is missing.
        ImageError: a picture or its truth cannot be used.
    """
    if not sources:
        raise ConfigError("there is no picture to work on; give at least one")
    names: dict[str, PictureSource] = {}
    for number, source in enumerate(sources, start=1):
        name = Path(source).stem if isinstance(source, str | Path) else f"picture{number}"
        if any(name.lower() == other.lower() for other in names):
            raise ConfigError(f"two pictures are called {name!r}; their results would mix: rename one of them")
        names[name] = source
    found = []
    for name, source in names.items():
        original = load_rgb(source)
        masks = None if truth is None else read_truth(truth, name, (original.shape[0], original.shape[1]))
        file = Path(source).name if isinstance(source, str | Path) else type(source).__name__
        found.append(Subject(name, file, original, masks))
    return found
