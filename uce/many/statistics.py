"""Means over pictures, and how far they can be trusted.

Legend: n pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval; the interval is None with fewer than two pictures."""

    mean: float
    low: float | None
    high: float | None


def estimate(sums: Sequence[float], counts: Sequence[int], seed: int = 0) -> Estimate | None:
    """Mean of what pictures contribute, with a percentile bootstrap over pictures.

    Pictures, not concepts, are drawn again: the concepts of one picture are not independent.

    Args:
        sums: per picture the sum of its values. counts: how many values those were; pictures with none do not count.

    Returns:
        None where there is nothing.

    Source: Efron, Annals of Statistics 1979; the ratio of resampled sums.
    """
    total, number = np.asarray(sums, np.float64), np.asarray(counts, np.int64)
    total, number = total[number > 0], number[number > 0]
    if len(total) == 0:
        return None
    mean = float(total.sum() / number.sum())
    if len(total) < 2:
        return Estimate(mean, None, None)
    rows = np.random.default_rng(seed).integers(0, len(total), (RESAMPLES, len(total)))
    means = total[rows].sum(axis=1) / number[rows].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high))
