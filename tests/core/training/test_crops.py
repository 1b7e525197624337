"""Crops for plain textual inversion: a square around the mask, inside the picture, filled as asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from uce.core.training.crops import concept_crop, crop_frame


def mask(rows: slice, columns: slice, size: tuple[int, int] = (20, 30)) -> npt.NDArray[np.bool_]:
    found = np.zeros(size, np.bool_)
    found[rows, columns] = True
    return found


@pytest.mark.parametrize(
    ("rows", "columns", "margin", "expected"),
    [
        (slice(8, 12), slice(10, 14), 0.0, (slice(8, 12), slice(10, 14))),
        (slice(8, 12), slice(10, 14), 0.5, (slice(6, 14), slice(8, 16))),
        (slice(9, 11), slice(10, 20), 0.0, (slice(5, 15), slice(10, 20))),  # as high as it is wide
        (slice(0, 4), slice(26, 30), 0.5, (slice(0, 8), slice(22, 30))),  # pushed inside
        (slice(0, 20), slice(0, 30), 0.0, (slice(0, 20), slice(0, 30))),  # cut where it does not fit
    ],
)
def test_the_frame(rows: slice, columns: slice, margin: float, expected: tuple[slice, slice]) -> None:
    assert crop_frame(mask(rows, columns), margin) == expected


@pytest.mark.parametrize(("fill", "colour"), [("white", 255), ("grey", 127), ("mean", 40), ("keep", 7)])
def test_what_is_not_the_concepts_is_filled(fill: str, colour: int) -> None:
    shown = mask(slice(8, 12), slice(10, 14))
    picture = np.full((20, 30, 3), 7, np.uint8)
    picture[shown] = 40
    before = picture.copy()
    crop = concept_crop(picture, shown, 0.5, fill)  # type: ignore[arg-type]
    inside = shown[crop_frame(shown, 0.5)]
    assert crop.shape == (8, 8, 3) and (crop[inside] == 40).all() and (crop[~inside] == colour).all()
    assert np.array_equal(picture, before)
