"""Intervals and differences, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from uce.many.statistics import Difference, Estimate, estimate, paired, spread


def test_mean_is_over_values_not_pictures() -> None:
    """Three values that sum to 3 and one of 0: 3 / 4."""
    found = estimate([3.0, 0.0, 9.0], [3, 1, 0])
    assert found is not None and found.mean == 0.75


def test_interval_of_two_pictures_is_what_can_be_drawn() -> None:
    """0 and 1: the resampled means are 0, 1/2 and 1, with 1/4 of the draws at each end."""
    assert estimate([0.0, 1.0], [1, 1]) == Estimate(0.5, 0.0, 1.0)


def test_interval_covers_like_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = estimate(values.tolist(), [1] * 400)
    assert found is not None and found.low is not None and found.high is not None
    assert (found.high - found.low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert found == estimate(values.tolist(), [1] * 400)  # fixed seed


def test_too_little_for_an_interval() -> None:
    assert estimate([2.0], [4]) == Estimate(0.5, None, None)
    assert estimate([], []) is None and estimate([0.0], [0]) is None


def test_a_difference_is_over_what_both_have() -> None:
    found = paired({"a": (0.5, 1), "b": (0.9, 1), "c": (0.0, 0)}, {"a": (0.4, 1), "c": (0.3, 1), "d": (0.1, 1)})
    assert found is not None and found.mean == pytest.approx(0.1) and found.low is None and found.sign == 0
    assert paired({"a": (1, 1)}, {"b": (1, 1)}) is None and paired({}, {}) is None


def test_what_makes_a_picture_hard_for_both_cancels() -> None:
    """Pictures differ by far more than the two methods, which differ by 0.1 on each."""
    base = {n: (float(n), 1) for n in range(20)}
    found = paired({n: (value + 0.1, 1) for n, (value, _) in base.items()}, base)
    assert found is not None and [found.mean, found.low, found.high] == pytest.approx([0.1] * 3) and found.sign == 1


def test_a_difference_of_means_over_concepts_weighs_concepts() -> None:
    """(1 + 3) / 4 against (0 + 0) / 2: every concept counts once."""
    found = paired({"a": (1.0, 1), "b": (3.0, 3)}, {"a": (0.0, 1), "b": (0.0, 1)})
    assert found is not None and found.mean == 1.0 and found == Difference(1.0, 1.0, 1.0, 2)


def test_too_few_units_are_not_told_from_chance() -> None:
    """Five that agree do so in one of 16 cases by chance."""
    signs = [paired({n: (n + 1.0, 1) for n in range(m)}, {n: (n + 0.5, 1) for n in range(m)}) for m in (5, 6)]
    assert [found.sign for found in signs if found is not None] == [0, 1]


def test_the_interval_of_differences_covers_like_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(0.5, 2, 400)
    found = paired({n: (v, 1) for n, v in enumerate(values.tolist())}, dict.fromkeys(range(400), (0.0, 1)))
    assert found is not None and found.low is not None and found.high is not None and found.sign == 1
    assert (found.high - found.low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_spread_is_that_of_a_sample() -> None:
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5) and spread([1.0]) is None
