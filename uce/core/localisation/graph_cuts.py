"""Cells as a graph: its leading eigenvectors, and where it comes apart at least cost.

Legend: N cells; k eigenvectors.
Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; von Luxburg, "A tutorial on spectral
clustering", 2007.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uce.core.localisation.distance import Floats

DENSE = 512
Cells = npt.NDArray[np.bool_]


def normalized(weights_NN: Floats) -> tuple[Floats, Floats]:
    """D^-1/2 W D^-1/2 and the diagonal of D^-1/2, both float64, for weights that are not negative and symmetric."""
    weights = np.array(weights_NN, np.float64)
    scale = 1 / np.sqrt(np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny))
    weights *= scale[:, None]
    weights *= scale[None]
    return weights, scale


def leading(matrix_NN: Floats, count: int, seed: int) -> tuple[Floats, Floats]:
    """The `count` largest eigenvalues of a symmetric matrix, falling, and their vectors (N, count).

    LOBPCG finds those of a 64 x 64 grid in about a second, where all 4096 take half a minute. Lanczos iterations are as
    quick, but start from one vector and miss repeated eigenvalues (of alike, separate things) unless run much longer.
    """
    from scipy.sparse.linalg import lobpcg

    from uce.core.localisation.points import quietly

    if len(matrix_NN) > max(DENSE, 5 * count):  # lobpcg asks for five times as many rows as vectors
        start = np.random.default_rng(seed).normal(size=(len(matrix_NN), count))
        values, vectors = quietly(lambda: lobpcg(matrix_NN, start, largest=True, tol=1e-4, maxiter=100))
    else:
        values, vectors = np.linalg.eigh(matrix_NN)
    order = np.argsort(-values, kind="stable")[:count]
    return values[order], vectors[:, order]


def cheapest_cut(weights_NN: Floats, seed: int) -> tuple[float, Cells]:
    """The cut of least cost among those along the second eigenvector, and the cells on one side, bool (N,).

    The cost of a cut into A and B is cut(A, B) / vol(A) + cut(A, B) / vol(B): the share of each side's weights that it
    severs. 0 where nothing joins them, about 1 where they hold together as much as each does in itself.

    Args:
        weights_NN: symmetric, not negative, N >= 2.
    """
    matrix, scale = normalized(weights_NN)
    order = np.argsort(leading(matrix, 2, seed)[1][:, 1] * scale, kind="stable")
    weights = np.asarray(weights_NN, np.float64)[np.ix_(order, order)]
    volume = np.cumsum(weights.sum(axis=1))
    inside = np.cumsum(2 * np.tril(weights, -1).sum(axis=1) + np.diag(weights))
    severed = np.maximum(volume - inside, 0)[:-1]
    tiny = np.finfo(np.float64).tiny
    costs = severed / np.maximum(volume[:-1], tiny) + severed / np.maximum(volume[-1] - volume[:-1], tiny)
    best = int(costs.argmin())
    side = np.zeros(len(weights), np.bool_)
    side[order[: best + 1]] = True
    return float(costs[best]), side
