"""Distances between probability rows, in tiles, so that a large grid needs no stored N x N matrix.

Every distance here splits into matrix products,

    D(i, j) = ((o_i - l_i . r_j) + (o_j - l_j . r_i)) / 2,

with an offset o and two factors l, r per row (`Factors`). For the symmetric Kullback-Leibler distance
D(p, q) = (KL(p||q) + KL(q||p)) / 2 these are o = sum p log p, l = p, r = log p.

Legend: N, A, B numbers of rows; M values per row. Products run in numpy, in the rows' own precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

TINY = float(np.finfo(np.float32).tiny)
TILE = 1024


@dataclass(frozen=True, eq=False)
class Factors:
    """What a distance needs of every row.

    Attributes:
        left, right: float32 or float64 (N, M).
        offset: (N,).
        noise: distances below this are rounding and count as 0, so that equal rows tie and ties go to the lowest
            index, whatever the matrix library.
    """

    left: Floats
    right: Floats
    offset: Floats
    noise: float

    def __len__(self) -> int:
        return int(self.left.shape[0])

    def tile(self, rows: slice, columns: slice) -> Floats:
        """Distances between two ranges of rows, (A, B), never negative."""
        forth = self.offset[rows, None] - self.left[rows] @ self.right[columns].T
        back = forth if rows == columns else self.offset[columns, None] - self.left[columns] @ self.right[rows].T
        distances = (forth + back.T) / 2
        distances[distances < self.noise] = 0
        return np.asarray(distances)


def kl_factors(rows: npt.ArrayLike) -> Factors:
    """Factors of the symmetric Kullback-Leibler distance.

    Zeros are met by a floor inside the logarithm, the smallest normal float32 (1.2e-38): an exact zero against
    probability p then costs about p * 87 instead of infinity, and values that are not zero keep their distance.

    Args:
        rows: (N, M), not negative, each summing to 1. Float32 stays float32; anything else becomes float64.

    Source: ConceptExpress (Hao et al., ECCV 2024), section 4.1.
    """
    left = np.asarray(rows)
    if left.dtype != np.float32:
        left = left.astype(np.float64)
    blocks = [slice(start, start + TILE) for start in range(0, len(left), TILE)]
    if any(np.any((left[block] > 0) & (left[block] < TINY)) for block in blocks):
        left = np.where(left < TINY, left.dtype.type(0), left)  # subnormal: no weight, but products ten times slower
    right = np.maximum(left, left.dtype.type(TINY))
    np.log(right, out=right)
    offset = np.empty(len(left), left.dtype)
    largest = 1.0
    for block in blocks:  # so that nothing but the factors is as large as they are
        offset[block] = (left[block] * right[block]).sum(axis=-1)
        largest = max(largest, float(np.abs(right[block]).max(initial=0)))
    return Factors(left, right, offset, float(np.finfo(left.dtype).eps) * largest)


def cosine_factors(rows: npt.ArrayLike) -> Factors:
    """Factors of 1 - cosine similarity, FINCH's own default distance; rows of zeros are far from everything."""
    left = np.asarray(rows, np.float64)
    left = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), TINY)
    return Factors(left, left, np.ones(len(left)), 8 * float(np.finfo(np.float64).eps))


def hellinger_rows(rows: npt.ArrayLike) -> Floats:
    """Square roots of distributions, (N, M) float32: their euclidean distance is sqrt(2) times Hellinger's.

    This is the embedding in which methods made for euclidean space (k-means, Ward, HDBSCAN) suit distributions: it is
    bounded, it needs no logarithm of zero, and for close rows its square is proportional to their KL distance.
    """
    return np.sqrt(np.maximum(np.asarray(rows, np.float32), 0))


def symmetric_kl(rows_AM: npt.ArrayLike, others_BM: npt.ArrayLike | None = None) -> Floats:
    """All symmetric KL distances, (A, B); between the rows themselves, (A, A), where no others are given."""
    first = kl_factors(rows_AM)
    if others_BM is None:
        return all_distances(first)
    second = kl_factors(others_BM)
    distances = (
        (first.offset[:, None] - first.left @ second.right.T) + (second.offset[:, None] - second.left @ first.right.T).T
    ) / 2
    distances[distances < max(first.noise, second.noise)] = 0
    return np.asarray(distances)


def _tiles(number: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Tiles on and above the diagonal, row by row."""
    for top in range(0, number, size):
        for left in range(top, number, size):
            yield slice(top, min(top + size, number)), slice(left, min(left + size, number))


def all_distances(factors: Factors) -> Floats:
    """Every distance, (N, N), zero on the diagonal."""
    number = len(factors)
    distances = np.zeros((number, number), factors.left.dtype)
    for rows, columns in _tiles(number, TILE):
        tile = factors.tile(rows, columns)
        distances[rows, columns] = tile
        if rows != columns:
            distances[columns, rows] = tile.T
    np.fill_diagonal(distances, 0)
    return distances


def first_neighbours(factors: Factors) -> Ints:
    """Index of every row's nearest other row, int64 (N,); among equals the lowest index.

    Tiles are visited so that a row meets the others in rising order; memory is O(N + TILE^2).
    """
    number = len(factors)
    index = np.zeros(number, np.int64)
    nearest = np.full(number, np.inf, factors.left.dtype)

    def update(rows: slice, first: int, tile: Floats) -> None:
        position = tile.argmin(axis=1)
        value = tile[np.arange(len(tile)), position]
        closer = value < nearest[rows]
        index[rows] = np.where(closer, position + first, index[rows])
        nearest[rows] = np.where(closer, value, nearest[rows])

    for rows, columns in _tiles(number, TILE):
        tile = factors.tile(rows, columns)
        if rows == columns:
            np.fill_diagonal(tile, np.inf)
        update(rows, columns.start, tile)
        if rows != columns:
            update(columns, rows.start, tile.T)
    return index
