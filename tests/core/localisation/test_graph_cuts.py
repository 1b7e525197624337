"""The cheapest cut against values worked out by hand, and the large solver against the dense one."""

from __future__ import annotations

import numpy as np
import pytest

from uce.core.localisation.graph_cuts import DENSE, cheapest_cut, leading, normalized


def cost_of(weights: np.ndarray, side: np.ndarray) -> float:
    severed = weights[side][:, ~side].sum()
    return float(severed / weights[side].sum() + severed / weights[~side].sum())


def test_two_pairs_joined_by_one_weak_link() -> None:
    weights = np.array([[0, 4, 0, 0], [4, 0, 1, 0], [0, 1, 0, 4], [0, 0, 4, 0]], float)
    cost, side = cheapest_cut(weights, seed=0)
    assert cost == pytest.approx(2 / 9)  # 1 severed of 4 + 5 on either side
    assert side.tolist() in ([True, True, False, False], [False, False, True, True])


def test_groups_that_nothing_joins_cost_nothing_to_part() -> None:
    same = np.arange(9)[:, None] % 3 == np.arange(9)[None] % 3
    cost, side = cheapest_cut(same.astype(float), seed=0)
    assert cost == pytest.approx(0, abs=1e-12)
    assert {len(set(side[group::3].tolist())) for group in range(3)} == {1}


def test_two_cells() -> None:
    cost, side = cheapest_cut(np.ones((2, 2)), seed=0)
    assert cost == pytest.approx(1) and sorted(side.tolist()) == [False, True]


def test_the_cost_is_that_of_the_cut_and_no_order_of_cells_changes_it() -> None:
    rng = np.random.default_rng(3)
    weights = rng.random((30, 30)) * np.where((np.arange(30)[:, None] < 12) == (np.arange(30)[None] < 12), 1, 0.1)
    weights += weights.T
    cost, side = cheapest_cut(weights, seed=0)
    assert cost == pytest.approx(cost_of(weights, side))
    assert set(side[:12].tolist()) != set(side[12:].tolist())
    order = rng.permutation(30)
    assert cheapest_cut(weights[np.ix_(order, order)], seed=0)[0] == pytest.approx(cost)


def test_many_cells_are_cut_where_few_would_be() -> None:
    num = DENSE + 88
    place = np.arange(num)
    weights = np.exp(-np.abs(place[:, None] - place[None]) / 10.0)
    weights *= np.where((place[:, None] < 400) == (place[None] < 400), 1, 0.01)
    cost, side = cheapest_cut(weights, seed=0)
    assert np.flatnonzero(np.diff(side.astype(int))).tolist() == [399]
    matrix = normalized(weights)[0]
    assert leading(matrix, 2, seed=0)[0] == pytest.approx(np.linalg.eigvalsh(matrix)[::-1][:2], abs=1e-4)
    assert cost == pytest.approx(cost_of(weights, side))
