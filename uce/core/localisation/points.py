"""Affinity rows as points in few euclidean dimensions, and what clusterers of points share.

Legend: N cells; d dimensions; k clusters; h, w grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from uce.core.localisation.distance import TILE, Floats, Ints, hellinger_rows, kl_factors
from uce.core.localisation.finch import mean_rows

SNAP = 1e-4


def hellinger_coordinates(affinity: npt.ArrayLike, dimensions: int, seed: int) -> Floats:
    """The leading principal axes of the rows' square roots, float32 (N, d), d <= dimensions.

    Euclidean distances there are Hellinger distances between rows, seen through the axes that matter. All zero where
    the rows are all equal.

    Args:
        affinity: (N, N), rows are distributions.
        seed: for the randomised decomposition (large grids).
    """
    from sklearn.decomposition import PCA

    roots = hellinger_rows(affinity)
    roots = roots - roots.mean(axis=0)
    if float(np.abs(roots).max(initial=0)) < SNAP:
        return np.zeros((len(roots), 1), np.float32)
    wanted = min(dimensions, len(roots) - 1)
    reduced = PCA(wanted, svd_solver="auto", random_state=seed % 2**32, iterated_power=4).fit_transform(roots)
    return _snapped(np.asarray(reduced, np.float32))


def _snapped(points: Floats) -> Floats:
    """Points closer than `SNAP` to an earlier one (along the first axis) take its place, so that rows that are equal
    but for rounding are equal points and no method sees structure in noise."""
    order = np.argsort(points[:, 0], kind="stable")
    along = points[order, 0]
    ends = np.searchsorted(along, along + SNAP, side="right")
    result, done = points.copy(), np.zeros(len(points), np.bool_)
    for position, leader in enumerate(order):
        if not done[leader]:
            window = order[position : ends[position]]
            near = window[np.linalg.norm(points[window] - points[leader], axis=1) <= SNAP]
            near = near[~done[near]]
            result[near], done[near] = points[leader], True
    return result


def places(grid: tuple[int, int]) -> Floats:
    """Row and column of every cell, float64 (N, 2), the longer side of the grid from 0 to 1."""
    return np.indices(grid).reshape(2, -1).T / max(grid)


def num_distinct(points: Floats) -> int:
    """How many different points there are."""
    return len(np.unique(points, axis=0))


def simplified_silhouette(points: Floats, labels: Ints) -> float:
    """Mean over points of (b - a) / max(a, b), in [-1, 1]: a is the distance to the own cluster's mean, b to the
    nearest other one. Higher is better; costs N * k instead of the plain silhouette's N * N.

    Source: Hruschka, de Castro, Campello, "Evolutionary algorithms for clustering gene-expression data", ICDM 2004.
    """
    means = mean_rows(points, labels, int(labels.max()) + 1)
    distances = np.linalg.norm(points[:, None].astype(np.float64) - means[None], axis=2)
    rows = np.arange(len(points))
    own = distances[rows, labels]
    distances[rows, labels] = np.inf
    other = distances.min(axis=1)
    worst = np.maximum(own, other)
    return float(np.where(worst > 0, (other - own) / np.where(worst > 0, worst, 1), 0).mean())


def best_count(points: Floats, counts: Sequence[int], labels_for: Callable[[int], Ints]) -> Ints:
    """The labels of the number of clusters with the highest simplified silhouette; of equals the fewest.

    Args:
        counts: numbers to try, rising.
        labels_for: gives labels (N,) for a number of clusters.
    """
    best, best_score = np.zeros(len(points), np.int64), -np.inf
    for count in counts:
        labels = labels_for(count)
        if labels.max() == 0:
            continue
        score = simplified_silhouette(points, labels)
        if score > best_score + 1e-9:
            best, best_score = labels, score
    return best


def in_raster_order(labels: npt.ArrayLike) -> Ints:
    """The same clusters numbered 0, 1, ... in order of first appearance; -1 stays."""
    values = np.asarray(labels, np.int64).ravel()
    names, first = np.unique(values, return_index=True)
    ordered = [int(name) for name in names[np.argsort(first)] if name >= 0]
    table = {name: index for index, name in enumerate(ordered)}
    return np.array([table.get(int(value), -1) for value in values], np.int64)


def widest_cluster(affinity: Floats, labels: Ints) -> float | None:
    """Twice the mean symmetric KL distance of cells to their cluster's mean row, of the cluster where it is largest.

    The merge threshold of clusterers that know no other: two clusters may join when they are no further apart than
    the widest cluster is across, as a diameter is two radii. None where no cell has a cluster.
    """
    num = int(labels.max(initial=-1)) + 1
    if num == 0:
        return None
    means = kl_factors(mean_rows(affinity, labels, num).astype(np.float32))
    total, counts = np.zeros(num), np.bincount(labels[labels >= 0], minlength=num)
    for start in range(0, len(affinity), TILE):
        own = labels[start : start + TILE]
        rows = kl_factors(np.asarray(affinity[start : start + TILE], np.float32)[own >= 0])
        own = own[own >= 0]
        forth = rows.offset - np.einsum("ij,ij->i", rows.left, means.right[own])
        back = means.offset[own] - np.einsum("ij,ij->i", means.left[own], rows.right)
        np.add.at(total, own, np.maximum(forth + back, 0) / 2)
    return 2 * float((total / np.maximum(counts, 1)).max())


def quietly(work: Callable[[], Any]) -> Any:
    """Do `work` without the warnings that degenerate points (fewer distinct ones than clusters) give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()
