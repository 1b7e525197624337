"""Affinity rows as points, and what clusterers of points share."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from uce.core.localisation.distance import symmetric_kl
from uce.core.localisation.points import (
    best_count,
    hellinger_coordinates,
    in_raster_order,
    num_distinct,
    quietly,
    simplified_silhouette,
    widest_cluster,
)
from uce.testing import tiny_attention


def test_all_axes_keep_hellinger_distances() -> None:
    affinity = tiny_attention((6, 6), things=3, noise=0.3).affinity.numpy()
    points = hellinger_coordinates(affinity, 36, seed=0)
    roots = np.sqrt(affinity)
    assert np.allclose(cdist(points, points), cdist(roots, roots), atol=2e-4)


def test_fewer_axes_never_stretch_a_distance() -> None:
    affinity = tiny_attention((6, 6), things=3, noise=0.3).affinity.numpy()
    points = hellinger_coordinates(affinity, 4, seed=0)
    assert points.shape == (36, 4) and points.dtype == np.float32
    assert (cdist(points, points) <= cdist(np.sqrt(affinity), np.sqrt(affinity)) + 3e-4).all()


def test_equal_rows_are_one_point() -> None:
    assert num_distinct(hellinger_coordinates(np.full((9, 9), 1 / 9), 4, 0)) == 1
    two = np.repeat(np.eye(2) * 0.8 + 0.1, [3, 5], axis=0)[:, [0, 1]].repeat(4, axis=1) / 4
    rounding = np.random.default_rng(0).normal(0, 1e-7, two.shape)
    assert num_distinct(hellinger_coordinates(two + rounding, 4, 0)) == 2


def test_the_silhouette_by_hand() -> None:
    """Means 0.5 and 10: of the first point a = .5, b = 10; of the second a = .5, b = 9; the third lies on its mean."""
    points = np.array([[0.0], [1.0], [10.0]])
    expected = np.mean([(10 - 0.5) / 10, (9 - 0.5) / 9, 1.0])
    assert simplified_silhouette(points, np.array([0, 0, 1])) == pytest.approx(expected)


def test_the_best_count_is_the_true_one_and_of_equals_the_fewest() -> None:
    centres = np.repeat([0.0, 5.0, 11.0], 4)[:, None]
    labels = {2: np.repeat([0, 0, 1], 4), 3: np.repeat([0, 1, 2], 4), 4: np.repeat([0, 1, 2], 4)}
    asked: list[int] = []
    assert np.array_equal(best_count(centres, [2, 3, 4], lambda k: (asked.append(k), labels[k])[1]), labels[3])
    assert asked == [2, 3, 4]
    assert (best_count(centres, [2], lambda k: np.zeros(12, np.int64)) == 0).all()


def test_names_do_not_matter_but_their_order_does() -> None:
    assert in_raster_order([[7, -1], [3, 7]]).tolist() == [0, -1, 1, 0]
    assert in_raster_order(in_raster_order([5, 2, 5])).tolist() == [0, 1, 0]


def test_the_widest_cluster_by_definition() -> None:
    affinity = tiny_attention((4, 4), things=2, noise=0.4).affinity.numpy()
    labels = np.array([0] * 7 + [1] * 8 + [-1])
    wide = [symmetric_kl(affinity[labels == k], affinity[labels == k].mean(axis=0)[None]).mean() for k in (0, 1)]
    assert widest_cluster(affinity, labels) == pytest.approx(2 * max(wide), rel=1e-3)
    assert widest_cluster(affinity, np.full(16, -1)) is None


def test_warnings_are_kept_quiet_only_there() -> None:
    assert quietly(lambda: (warnings.warn("noise", stacklevel=1), 3)[1]) == 3
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
