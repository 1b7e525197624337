"""FINCH: parameter-free clustering by first neighbours, with an optional say on which pairs may join.

Every row links to its nearest other row; rows i and j are neighbours (equation 1 of the paper) when one is the
other's first neighbour or both have the same one. Connected components are the first partition; the same on the
components' means gives the next, coarser one, and so on.

Source: Sarfraz, Sharma, Stiefelhagen, "Efficient Parameter-free Clustering Using First Neighbor Relations",
CVPR 2019, algorithm 1. The constrained form is ConceptExpress (Hao et al., ECCV 2024), section 4.1.

Legend: N rows; M values per row; n clusters of the level at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from uce.core.localisation.distance import Factors, Floats, Ints, all_distances, first_neighbours, kl_factors

COLUMNS = 2048

Joinable = Callable[[Ints, Floats], npt.NDArray[np.bool_]]
"""(labels (N,) of the level at hand, distances (n, n) between its clusters) -> bool (n, n): which pairs may join."""


@dataclass(frozen=True, eq=False)
class Partition:
    """One level of the hierarchy.

    Attributes:
        labels: int64 (N,), 0 to num_clusters - 1 in order of first appearance.
        num_clusters: how many.
        threshold: the largest distance bridged to make this partition from the one before; None for the first one.
            A pair that are each other's first neighbours counts twice its distance: the reference implementation's
            links are a sum of both directions, and parity with it needs this.
    """

    labels: Ints
    num_clusters: int
    threshold: float | None = None


def mean_rows(rows: Floats, labels: Ints, num_clusters: int) -> npt.NDArray[np.float64]:
    """Plain mean of every cluster's rows, float64 (num_clusters, M); rows labelled -1 are left out."""
    kept = np.flatnonzero(labels >= 0)
    counts = np.bincount(labels[kept], minlength=num_clusters)
    gather = csr_array((np.ones(len(kept)), (labels[kept], kept)), shape=(num_clusters, len(labels)))
    means = np.empty((num_clusters, rows.shape[1]), np.float64)
    for start in range(0, rows.shape[1], COLUMNS):
        block = slice(start, start + COLUMNS)
        means[:, block] = gather @ rows[:, block].astype(np.float64)
    means /= np.maximum(counts, 1)[:, None]
    return means


def _components(links: csr_array) -> tuple[int, Ints]:
    number, labels = connected_components(links, directed=False)
    return int(number), labels.astype(np.int64)


def _neighbour_links(neighbours: Ints) -> csr_array:
    """Links from every row to its first neighbour; their components are those of equation 1."""
    number = len(neighbours)
    return csr_array((np.ones(number, np.int8), (np.arange(number), neighbours)), shape=(number, number))


def _equation_1(neighbours: Ints) -> csr_array:
    """All pairs of equation 1: entry 2 where two are each other's first neighbour, 1 for any other pair."""
    own = _neighbour_links(neighbours).astype(np.float64)
    links = csr_array(own + own.T + own @ own.T)
    links.setdiag(0)
    links.eliminate_zeros()
    return links


def _bridged(links: csr_array, distances: Floats) -> float:
    """The largest link weight x distance."""
    pairs = links.tocoo()
    return float((pairs.data * distances[pairs.row, pairs.col]).max(initial=0))


def _join(factors: Factors, labels: Ints, joinable: Joinable | None, first: bool) -> tuple[int, Ints, float | None]:
    """Join the clusters of one level: their number, their new labels (n,), and what it took."""
    if first and joinable is None:
        number, joined = _components(_neighbour_links(first_neighbours(factors)))
        return number, joined, None
    distances = all_distances(factors)
    apart = distances.copy()
    np.fill_diagonal(apart, np.inf)
    # A forbidden first neighbour is not replaced by the next best: its link is cut, as in the reference.
    links = _equation_1(apart.argmin(axis=1))
    if joinable is not None:
        links = csr_array(links.multiply(joinable(labels, distances)))
        links.eliminate_zeros()
    number, joined = _components(links)
    return number, joined, None if first else _bridged(links, distances)


def finch(
    rows: npt.ArrayLike,
    *,
    joinable: Joinable | None = None,
    factors: Callable[[Floats], Factors] = kl_factors,
) -> list[Partition]:
    """All partitions, finest first; at least one.

    Works in float64, from the second level on on means of the original rows: in float32 it is the matrix library's
    rounding that chooses among near-equal neighbours, and another processor finds other clusters. As in the
    reference, a later partition of one cluster is left out, one that joins nothing ends the hierarchy, and so does one
    that joined just one pair. A first partition stands even where it joined everything or nothing.

    Args:
        rows: (N, M) float32 or float64, N >= 1; distributions for the default distance.
        joinable: which pairs may join; None allows all. With it, all N x N distances are stored.
        factors: the distance, see `uce.core.localisation.distance`.
    """
    data = np.asarray(rows, np.float64)
    labels: Ints = np.arange(len(data), dtype=np.int64)
    if len(data) == 1:
        return [Partition(labels, 1)]
    partitions: list[Partition] = []
    number, level = len(data), data
    while number > 1:
        joined_number, joined, threshold = _join(factors(level), labels, joinable, first=not partitions)
        if partitions and joined_number in (1, number):
            break
        drop, number, labels = number - joined_number, joined_number, joined[labels]
        partitions.append(Partition(labels, number, threshold))
        if drop <= 1:
            break
        level = mean_rows(data, labels, number)
    return partitions


def choose_partition(partitions: Sequence[Partition], min_clusters: int) -> Partition:
    """The partition with at least `min_clusters` clusters whose successor has fewer.

    Where there is none (the reference stops with an error): all have fewer, then the first, which has the most; the
    last still has as many, then the last, which has the fewest.
    """
    enough = [partition for partition in partitions if partition.num_clusters >= min_clusters]
    return enough[-1] if enough else partitions[0]
