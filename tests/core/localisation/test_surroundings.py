"""What pixels say of a foreground, on pictures whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uce.core.flow.picture import read_picture
from uce.core.localisation.surroundings import (
    SAMPLES,
    P,
    background_likeness,
    cell_colours,
    colours,
    gaps,
    open_outline,
)

GRID = (16, 16)


def drawn(truth: np.ndarray, thing: tuple[int, int, int] = (200, 30, 30), background: int = 120) -> np.ndarray:
    """A picture of cells, 8 pixels each, as seen."""
    palette = np.array([[background] * 3, thing], np.uint8)
    picture = read_picture(palette[np.kron(truth, np.ones((8, 8), int))], 128, "stretch")
    return colours(picture, truth.shape)


def square() -> np.ndarray:
    truth = np.zeros(GRID, int)
    truth[5:11, 5:11] = 1
    return truth


def test_colours_are_those_of_the_cells_and_a_shadow_is_near() -> None:
    found = drawn(square(), (255, 0, 0))
    assert found.shape == (GRID[0] * P, GRID[1] * P, 3) and found.dtype == np.float64
    assert np.allclose(found[0, 0], [25.1, 0, 0], atol=0.2), "half of L* 50.2"
    assert np.allclose(found[32, 32], [53.24 / 2, 80.09, 67.20], atol=0.1), "red as it is known"
    picture = read_picture(np.full((64, 32, 3), 255, np.uint8), 128, "stretch")
    assert colours(picture, (8, 4)).shape == (32, 16, 3), "grids need not be square"


def test_the_thing_looks_like_itself_and_the_rest_like_background() -> None:
    truth = square()
    wide = np.zeros(GRID, bool)
    wide[4:12, 4:12] = True  # a foreground that bulges by a cell
    likeness = background_likeness(drawn(truth), wide)
    solid = np.kron(truth, np.ones((P, P), int)) > 0
    assert likeness[solid].max() < 0.01 and likeness[~solid].min() > 0.5
    assert likeness.min() >= 0 and likeness.max() <= 1


def test_without_background_nothing_looks_like_it() -> None:
    assert not background_likeness(drawn(square()), np.ones(GRID, bool)).any()


def test_a_gap_is_between_cells_on_either_side_of_it_only() -> None:
    likeness = np.zeros((GRID[0] * P, GRID[1] * P))
    likeness[:, 8 * P + 1] = 0.7  # a quarter of a cell wide
    cells = np.array([16 * 4 + 4, 16 * 4 + 7, 16 * 4 + 11, 16 * 9 + 11, 16 * 4 + 15])
    found = gaps(likeness, cells, 16, reach=9)
    assert np.array_equal(found, found.T) and not found.diagonal().any()
    assert found[0, 1] == 0 and found[2, 3] == 0 and found[0, 4] == 1, "the last two are too far apart"
    assert found[1, 2] == 0.7


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 7), width=st.integers(1, 7), reach=st.floats(0.5, 9))
def test_gaps_are_what_a_walk_between_any_two_cells_meets(seed: int, height: int, width: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    likeness = rng.random((height * P, width * P))
    cells = np.flatnonzero(rng.random(height * width) < 0.7)
    found = gaps(likeness, cells, width, reach)
    for i, one in enumerate(cells):
        for j, other in enumerate(cells[i + 1 :], i + 1):
            (y, x), (v, u) = divmod(int(one), width), divmod(int(other), width)
            if (y - v) ** 2 + (x - u) ** 2 > reach**2:
                assert found[i, j] == 1
                continue
            steps = np.linspace(0, 1, SAMPLES + 2)[1:-1]
            path = [P * (np.array([y, x]) + s * np.array([v - y, u - x])) + P / 2 - 0.5 for s in steps]
            assert found[i, j] == max(likeness[tuple(np.rint(point).astype(int))] for point in path)


@pytest.mark.parametrize(("shown", "share"), [(1, 0.0), (0, 1.0)])
def test_an_outline_is_open_where_the_picture_has_no_edge(shown: int, share: float) -> None:
    truth = square()
    assert open_outline(cell_colours(drawn(truth * shown), GRID), np.flatnonzero(truth), truth > 0) == share


def test_half_an_outline() -> None:
    truth = np.zeros(GRID, int)
    truth[:, 6:10] = 1
    half = truth.copy()
    half[:, 8:] = 1  # no edge to the right
    assert open_outline(cell_colours(drawn(half), GRID), np.flatnonzero(truth), truth > 0) == 0.5
    assert open_outline(cell_colours(drawn(half), GRID), np.arange(256), np.ones(GRID, bool)) == 0, (
        "no background, no outline"
    )
