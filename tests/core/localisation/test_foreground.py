"""What is foreground and what holds it together, on grids that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from uce.core.flow.picture import read_picture
from uce.core.localisation.foreground import (
    bonds,
    bounded,
    edge_contrast,
    parts_of,
    salient_cells,
    shown_cells,
    walked,
)
from uce.core.localisation.surroundings import P
from uce.testing import tiny_attention, tiny_labels, tiny_picture

ALL = np.ones((8, 8), np.bool_)


def test_padding_is_not_shown() -> None:
    attention = tiny_attention()
    assert shown_cells(attention, None).all() and shown_cells(attention, None).shape == (8, 8)
    shown = shown_cells(attention, tiny_picture((20, 40)))
    assert 0 < shown.sum() < 64 and shown.any(axis=0).all(), "a wide picture is padded above and below"


def test_what_attends_to_the_salient_is_foreground() -> None:
    attention = tiny_attention(noise=0)
    affinity, saliency = attention.affinity.double().numpy(), attention.saliency.double().numpy()
    assert np.array_equal(salient_cells(affinity, saliency, ALL, 1.0), tiny_labels().numpy() > 0)


@pytest.mark.parametrize("threshold", [1.0, 1e9])
def test_where_nothing_stands_out_all_that_is_shown_is_foreground(threshold: float) -> None:
    attention = tiny_attention(things=0 if threshold == 1.0 else 2)
    affinity, saliency = attention.affinity.double().numpy(), attention.saliency.double().numpy()
    shown = ALL.copy()
    shown[0] = False
    assert np.array_equal(salient_cells(affinity, saliency, shown, threshold), shown)


def test_bonds_fall_with_the_distance_and_are_symmetric() -> None:
    affinity = np.random.default_rng(0).random((16, 16))
    foreground = np.ones((4, 4), np.bool_)
    held = bonds(affinity, foreground, None, reach=0.5, gap=3)(np.array([0, 1, 15]))
    assert np.allclose(held, held.T) and held[0, 0] == pytest.approx(affinity[0, 0])
    near = (affinity[0, 1] + affinity[1, 0]) / 2
    assert held[0, 1] == pytest.approx(near * np.exp(-1 / 8)), "a cell apart, with a reach of two cells"
    assert held[0, 2] == pytest.approx((affinity[0, 15] + affinity[15, 0]) / 2 * np.exp(-18 / 8))


def test_a_gap_that_looks_like_background_loosens() -> None:
    foreground = np.zeros((8, 8), np.bool_)
    foreground[3, 1:7] = True
    colours = np.zeros((8 * P, 8 * P, 3))
    colours[3 * P : 4 * P, P : 7 * P] = 60
    cells, affinity = np.flatnonzero(foreground), np.ones((64, 64))
    whole = bonds(affinity, foreground, colours, 0.5, 3)(cells)
    colours[3 * P : 4 * P, 4 * P - 1 : 4 * P + 1] = 0
    torn = bonds(affinity, foreground, colours, 0.5, 3)(cells)
    assert torn[2, 3] < whole[2, 3] and torn[0, 1] == pytest.approx(whole[0, 1]) and np.allclose(torn, torn.T)
    assert np.array_equal(bonds(affinity, foreground, colours, 0.5, 0)(cells),
                          bonds(affinity, foreground, None, 0.5, 3)(cells))  # fmt: skip


def test_parts_touch_by_their_sides() -> None:
    found = [part.tolist() for part in parts_of(np.array([0, 1, 5, 10, 11]), (3, 4))]
    assert found == [[0, 1, 5], [10, 11]], "10 touches 5 by a corner alone"
    assert parts_of(np.array([], np.int64), (3, 4)) == []


def test_pieces_with_an_edge_and_the_best_where_none_has() -> None:
    foreground = np.zeros((8, 8), np.bool_)
    foreground[1:3, 1:3] = foreground[5:7, 5:7] = True
    pieces = parts_of(np.flatnonzero(foreground), (8, 8))
    colours = np.zeros((8 * P, 8 * P, 3))
    assert len(bounded(pieces, colours, foreground, 0.5)) == 2, "both are as open: none is worse than the best"
    colours[P : 3 * P, P : 3 * P] = 80
    assert [piece[0] for piece in bounded(pieces, colours, foreground, 0.5)] == [9]
    assert len(bounded(pieces, colours, foreground, 1.0)) == 2


def test_a_walk_stays_within_its_thing_and_forgets_where_it_began() -> None:
    weights = np.kron(np.eye(2), np.ones((3, 3))) * np.random.default_rng(1).uniform(0.5, 1, (6, 6))
    weights[5] = weights[:, 5] = 0
    found = walked(weights, 64)
    assert np.allclose(found.sum(axis=1), 1) and np.allclose(found[:3, 3:], 0) and np.allclose(found[0], found[2])
    assert found[5, 5] == 1, "who is held by nothing stays"
    assert np.array_equal(walked(weights, 0), np.eye(6))


def test_a_uniform_picture_has_no_edges() -> None:
    flat = tiny_picture((40, 40))
    assert edge_contrast(flat) > 2
    grey = np.full((40, 40, 3), 90, np.uint8)
    assert edge_contrast(read_picture(grey, 32, "pad")) == pytest.approx(0, abs=1e-6)
