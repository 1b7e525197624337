"""Distances between distributions, against their definitions in plain loops."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import cdist
from scipy.special import rel_entr

from uce.core.localisation.distance import (
    all_distances,
    cosine_factors,
    first_neighbours,
    hellinger_rows,
    kl_factors,
    symmetric_kl,
)

Rows = npt.NDArray[np.float32]


@pytest.fixture
def rows() -> Rows:
    values = np.random.default_rng(3).random((17, 11)) + 1e-3
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def by_definition(rows: Rows) -> npt.NDArray[np.float64]:
    exact = rows.astype(np.float64)
    return np.array([[(rel_entr(p, q).sum() + rel_entr(q, p).sum()) / 2 for q in exact] for p in exact])


def test_symmetric_kl_is_its_definition(rows: Rows) -> None:
    expected = by_definition(rows)
    assert np.allclose(symmetric_kl(rows), expected, atol=1e-5)
    assert np.allclose(symmetric_kl(rows, rows[:4]), expected[:, :4], atol=1e-5)
    assert np.allclose(all_distances(kl_factors(rows)), expected, atol=1e-5)


def test_cosine_distance_is_its_definition(rows: Rows) -> None:
    assert np.allclose(all_distances(cosine_factors(rows)), cdist(rows, rows, "cosine"), atol=1e-5)


def test_hellinger_rows_are_sqrt_2_hellinger_distances_apart(rows: Rows) -> None:
    expected = np.sqrt([[((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2 for q in rows] for p in rows])
    assert np.allclose(cdist(hellinger_rows(rows), hellinger_rows(rows)) / np.sqrt(2), expected, atol=1e-5)


@pytest.mark.parametrize("tile", [1, 5, 16, 17, 1024])
def test_the_size_of_tiles_changes_nothing(rows: Rows, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = by_definition(rows)
    np.fill_diagonal(expected, np.inf)
    monkeypatch.setattr("uce.core.localisation.distance.TILE", tile)
    assert np.array_equal(first_neighbours(kl_factors(rows)), expected.argmin(axis=1))


def test_equal_rows_are_nearest_to_the_first_of_them(rows: Rows) -> None:
    repeated = rows[[0, 1, 0, 2, 0, 1]]
    assert first_neighbours(kl_factors(repeated)).tolist() == [2, 5, 0, first_neighbours(kl_factors(repeated))[3], 0, 1]


def test_zeros_are_far_but_finite(rows: Rows) -> None:
    sharp = np.eye(3, dtype=np.float32)
    found = symmetric_kl(sharp)
    assert np.isfinite(found).all() and (found[~np.eye(3, dtype=bool)] > 50).all() and (np.diag(found) == 0).all()
