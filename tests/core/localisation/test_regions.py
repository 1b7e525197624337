"""Masks as sets of cells: parts, unions, what touches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from uce.core.localisation.regions import components, touching, union

Masks = npt.NDArray[np.bool_]


def masks(*texts: str) -> Masks:
    return np.array([[[letter == "#" for letter in row] for row in text.split("/")] for text in texts])


def test_corners_do_not_connect() -> None:
    labels, number = components(masks("#.#/.##")[0])
    assert number == 2 and labels.tolist() == [[1, 0, 2], [0, 2, 2]]
    assert components(masks("../..")[0])[1] == 0


def test_masks_of_one_label_become_one() -> None:
    found = union(masks("#../...", ".../..#", ".#./..."), np.array([1, 0, 1]))
    assert np.array_equal(found, masks(".../..#", "##./..."))


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        ("#../...", ".#./...", True),  # side by side
        ("#../...", "#../...", True),  # the same
        ("#../...", ".../.#.", False),  # a corner
        ("#../...", "..#/...", False),  # a gap
        ("##./...", ".../##.", True),
    ],
)
def test_what_touches(first: str, second: str, answer: bool) -> None:
    found = touching(masks(first, second))
    assert found.tolist() == [[False, answer], [answer, False]]


def test_touching_is_fewer_parts_together_than_apart() -> None:
    rng = np.random.default_rng(5)
    some = rng.random((6, 5, 5)) < 0.2
    apart = [components(mask)[1] for mask in some]
    found = touching(some)
    for i in range(6):
        for j in range(6):
            if i != j and not (some[i] & some[j]).any():
                assert found[i, j] == (components(some[i] | some[j])[1] < apart[i] + apart[j])
