"""FINCH: against the authors' package on random data, a hand-worked example, ties, and properties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from finch import FINCH
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from uce.core.localisation.distance import (
    Factors,
    Floats,
    all_distances,
    cosine_factors,
    first_neighbours,
    kl_factors,
    symmetric_kl,
)
from uce.core.localisation.finch import Partition, choose_partition, finch, mean_rows


def distributions(seed: int, num: int, width: int, sharpness: float = 0.3) -> Floats:
    return np.random.default_rng(seed).dirichlet(np.full(width, sharpness), num) + 1e-9


def line_factors(points: Floats) -> Factors:
    """Half the squared distance on a line, in the form every distance here has."""
    return Factors(points, points, (points**2).sum(axis=1), 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_partitions_equal_the_authors_package(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(300, 8))
    labels, counts, _ = FINCH(rows, distance="cosine", verbose=False)
    ours = finch(rows, factors=cosine_factors)
    assert [partition.num_clusters for partition in ours] == counts
    for level, partition in enumerate(ours):
        assert adjusted_rand_score(partition.labels, labels[:, level]) == 1


def test_a_hand_worked_example() -> None:
    """On a line 0 <-> 1, 3 -> 1, 10 <-> 12, 100 <-> 101; the means 4/3, 11 and 100.5 would all join, and do not."""
    points = np.array([[0.0], [1.0], [3.0], [10.0], [12.0], [100.0], [101.0]])
    (only,) = finch(points, factors=line_factors)
    assert only.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert only.threshold is None


def test_the_threshold_counts_reciprocal_pairs_twice_and_siblings_once() -> None:
    points = np.array([[0.0], [0.1], [10.0], [10.1], [40.0], [40.1], [44.0], [44.1]])
    partitions = finch(points, factors=line_factors)
    assert [p.num_clusters for p in partitions] == [4, 2]
    assert partitions[1].threshold == pytest.approx(2 * 10**2 / 2)
    points = np.array([[0.0], [0.1], [3.0], [3.1], [-4.0], [-4.1], [50.0], [50.1], [52.0], [52.1]])
    partitions = finch(points, factors=line_factors)
    assert partitions[1].labels.tolist() == [0] * 6 + [1] * 4
    # 3 and -4 both have 0 as first neighbour: their own distance, 7, is bridged too.
    assert partitions[1].threshold == pytest.approx(7.1**2 / 2, rel=1e-6)


def test_equal_rows_make_one_cluster_each_block_whatever_the_order() -> None:
    blocks = distributions(0, 6, 40)
    labels = np.random.default_rng(1).integers(0, 6, 500)
    labels[:6] = range(6)
    partition = finch(blocks[labels].astype(np.float32))[0]
    assert partition.num_clusters == 6
    assert adjusted_rand_score(partition.labels, labels) == 1


@pytest.mark.parametrize("noise", [0, 1e-8])
def test_a_constant_affinity_is_one_cluster(noise: float) -> None:
    rows = np.full((64, 64), 1 / 64, np.float32) * (1 + noise * np.random.default_rng(0).normal(size=(64, 64)))
    partitions = finch(rows.astype(np.float32))
    assert [partition.num_clusters for partition in partitions] == [1]


def test_exact_zeros_have_a_finite_symmetric_distance_that_grows_with_disagreement() -> None:
    rows = np.array([[0.5, 0.5, 0, 0], [0.4, 0.6, 0, 0], [0, 0, 0.5, 0.5], [0.5, 0, 0.5, 0]], np.float32)
    distances = symmetric_kl(rows)
    assert np.isfinite(distances).all() and (distances == distances.T).all()
    assert distances[0, 1] == pytest.approx(0.5 * 0.1 * np.log(1.5), rel=1e-4)
    assert distances[0, 1] < distances[0, 3] < distances[0, 2]


def test_distances_agree_with_the_definition_and_do_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = distributions(3, 60, 30)
    logs = np.log(rows)
    expected = ((rows[:, None] - rows[None]) * (logs[:, None] - logs[None])).sum(axis=2) / 2
    np.testing.assert_allclose(symmetric_kl(rows), expected, rtol=1e-9, atol=1e-12)
    whole = first_neighbours(kl_factors(rows))
    monkeypatch.setattr("uce.core.localisation.distance.TILE", 7)
    np.testing.assert_array_equal(first_neighbours(kl_factors(rows)), whole)
    np.testing.assert_allclose(all_distances(kl_factors(rows)), expected, rtol=1e-9, atol=1e-12)
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_array_equal(whole, expected.argmin(axis=1))


def test_float32_rows_stay_float32_and_subnormal_values_do_not_count() -> None:
    rows = distributions(0, 5, 9).astype(np.float32)
    assert kl_factors(rows).left.dtype == np.float32
    rows[0, 0] = 1e-42
    factors = kl_factors(rows)
    assert factors.left[0, 0] == 0 and rows[0, 0] > 0
    assert np.isfinite(factors.right).all()


def test_constraints_cut_links_and_never_replace_them() -> None:
    points = np.array([[0.0], [1.0], [2.5]])

    def only_the_far_pair(labels: np.ndarray, distances: Floats) -> np.ndarray:
        allowed = np.zeros_like(distances, bool)
        if len(distances) == 3:
            allowed[1, 2] = allowed[2, 1] = True
        return allowed

    # 2.5's first neighbour is 1: that link stands. 0 and 1 are cut, and 0 does not look for another.
    assert finch(points, factors=line_factors, joinable=only_the_far_pair)[-1].labels.tolist() == [0, 1, 1]
    nothing = finch(points, factors=line_factors, joinable=lambda labels, d: np.zeros_like(d, bool))
    assert nothing[-1].labels.tolist() == [0, 1, 2]


def test_one_row_is_one_cluster() -> None:
    assert finch(np.ones((1, 1)))[0].labels.tolist() == [0]
    assert finch(np.full((2, 2), 0.5))[0].labels.tolist() == [0, 0]


def partition_of(count: int) -> Partition:
    return Partition(np.arange(count), count)


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ([90, 20, 4], 20),
        ([90, 10, 9], 10),
        ([90, 20, 10], 10),  # the last still has ten: the coarsest
        ([16, 8], 16),
        ([7, 3], 7),  # the first already has fewer: the finest
        ([1], 1),
    ],
)
def test_the_chosen_partition(counts: list[int], chosen: int) -> None:
    assert choose_partition([partition_of(count) for count in counts], 10).num_clusters == chosen


def test_mean_rows_are_plain_float64_means_and_leave_out_unassigned(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = distributions(1, 12, 9).astype(np.float32)
    labels = np.array([0, 0, 1, -1, 1, 1, 0, 2, 2, -1, 0, 2])
    monkeypatch.setattr("uce.core.localisation.finch.COLUMNS", 4)
    means = mean_rows(rows, labels, 4)
    assert means.dtype == np.float64
    for label in range(3):
        np.testing.assert_allclose(means[label], rows[labels == label].astype(np.float64).mean(axis=0), rtol=1e-12)
    assert (means[3] == 0).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), num=st.integers(3, 60), width=st.integers(2, 20))
def test_partitions_are_nested_and_permuting_rows_permutes_them(seed: int, num: int, width: int) -> None:
    rows = distributions(seed, num, width)
    partitions = finch(rows)
    counts = [partition.num_clusters for partition in partitions]
    assert counts == sorted(set(counts), reverse=True) and counts[0] <= num // 2
    for finer, coarser in pairwise(partitions):
        pairs = {*zip(finer.labels.tolist(), coarser.labels.tolist(), strict=True)}
        assert len(pairs) == finer.num_clusters, "a finer cluster lies in one coarser cluster"
        assert coarser.threshold is not None and coarser.threshold > 0
    for partition in partitions:
        _, first = np.unique(partition.labels, return_index=True)
        assert len(first) == partition.num_clusters and (np.diff(first) > 0).all(), "numbered by first appearance"
    order = np.random.default_rng(seed).permutation(num)
    again = finch(rows[order])
    assert [partition.num_clusters for partition in again] == counts
    for one, other in zip(partitions, again, strict=True):
        assert adjusted_rand_score(one.labels[order], other.labels) == 1
