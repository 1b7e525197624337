"""Means over pictures, and how far they can be trusted.

Legend: n pictures.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
LEAST = 6
"""Units with which a difference can be told from chance: that fewer of them all agree happens in one of 16 cases."""
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


Sums = Mapping[Hashable, tuple[float, int]]
"""Unit (a picture) -> the sum of its values, and how many they are."""


@dataclass(frozen=True)
class Difference:
    """How far a mean lies above another one over so many units, and its 95% interval; None with fewer than two."""

    mean: float
    low: float | None
    high: float | None
    units: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0, else 0; 0 with too few units to trust it."""
        if self.low is None or self.high is None or self.units < LEAST:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def paired(own: Sums, base: Sums, seed: int = 0) -> Difference | None:
    """The difference of two means over the units that both have, with a percentile bootstrap over these.

    Units are drawn for both at once, so that what makes a picture hard for both cancels.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
    """
    units = [unit for unit in own if unit in base and own[unit][1] and base[unit][1]]
    if not units:
        return None
    ours_n2, theirs_n2 = (np.array([side[unit] for unit in units], np.float64) for side in (own, base))

    def difference(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        ours, theirs = (side[rows].sum(axis=-2) for side in (ours_n2, theirs_n2))
        return np.asarray(ours[..., 0] / ours[..., 1] - theirs[..., 0] / theirs[..., 1])

    mean = float(difference(np.arange(len(units))))
    if len(units) < 2:
        return Difference(mean, None, None, len(units))
    drawn = difference(np.random.default_rng(seed).integers(0, len(units), (RESAMPLES, len(units))))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(mean, float(low), float(high), len(units))


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
