"""Pictures that many configurations are tried on, each under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from uce.core.errors import ConfigError
from uce.core.files.pictures import PictureSource, RgbArray
from uce.core.flow.picture import load_rgb, picture_digest
from uce.truth.reading import read_truth


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture; it is read when it is wanted and not kept, so that there may be many.

    Attributes:
        name: of its folder and in the tables: the file's stem, as `--truth` looks it up.
        source: where it comes from.
        truth_folder: where its true masks are, or None.
        labels: what makes it hard.
    """

    name: str
    source: PictureSource
    truth_folder: Path | None = None
    labels: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """What run.json calls it."""
        return Path(self.source).name if isinstance(self.source, str | Path) else type(self.source).__name__

    @property
    def original(self) -> RgbArray:
        """uint8 (H, W, 3)."""
        return load_rgb(self.source)

    @cached_property
    def facts(self) -> tuple[str, int, int]:
        """Digest, height, width."""
        original = self.original
        return picture_digest(original), original.shape[0], original.shape[1]

    @property
    def truth(self) -> npt.NDArray[np.bool_] | None:
        """bool (T, H, W), or None where there is none."""
        return None if self.truth_folder is None else read_truth(self.truth_folder, self.name, self.facts[1:])

    def check(self) -> Subject:
        """Read the picture and its truth once, so that what is wrong with them is said before anything runs.

        Raises:
            ConfigError, ImageError: one of them is missing or cannot be used.
        """
        _ = self.facts, self.truth
        return self


def read_subjects(sources: Sequence[PictureSource], truth: Path | None) -> list[Subject]:
    """Pictures by their files' stems, each looked at.

    Raises:
        ConfigError: no picture, two of one name, or truth that is missing.
        ImageError: a picture or its truth cannot be used.
    """
    if not sources:
        raise ConfigError("there is no picture to work on; give at least one")
    found: list[Subject] = []
    for number, source in enumerate(sources, start=1):
        name = Path(source).stem if isinstance(source, str | Path) else f"picture{number}"
        if any(name.lower() == other.name.lower() for other in found):
            raise ConfigError(f"two pictures are called {name!r}; their results would mix: rename one of them")
        found.append(Subject(name, source, truth))
    return [subject.check() for subject in found]
