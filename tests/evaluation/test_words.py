"""Prompts, bleeding and backgrounds against values worked out by hand, and what must hold for any pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uce.evaluation.words import alignment, background_leak, bleed_matrix, recognised, recognised_once


def test_recognised_by_hand() -> None:
    """Nearest to the first; between both; like nothing at all, which is a draw."""
    found = recognised(np.array([[3.0, 1.0], [2.0, 2.0], [0.0, 0.0]]), np.eye(2))
    np.testing.assert_array_equal(found, [[1, 0], [0.5, 0.5], [0.5, 0.5]])


def test_bleed_matrix_by_hand() -> None:
    """Four pictures each: the first concept is itself in three, the second is the first in one and between in two."""
    drawn = np.array([[[9.0, 1], [9, 1], [9, 1], [1, 9]], [[1.0, 9], [9, 1], [1, 1], [5, 5]]])
    np.testing.assert_allclose(bleed_matrix(drawn, np.eye(2)), [[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("things", "wanted"),
    [
        ([0, 1], [True, True]),
        ([0, 0, 1], [False, True]),  # the first concept twice
        ([0], [True, False]),
        ([2, 2], [False, False]),  # only a third concept, which nobody asked for
        ([2, 0, 1], [True, True]),
        ([], [False, False]),
    ],
)
def test_both_recognised_by_hand(things: list[int], wanted: list[bool]) -> None:
    prototypes = np.eye(3)
    assert recognised_once(prototypes[things].reshape(-1, 3), prototypes, (0, 1)) == wanted


def test_a_blend_of_two_is_neither() -> None:
    assert recognised_once(np.array([[1.0, 1.0], [1.0, 0.0]]), np.eye(2), (0, 1)) == [True, False]


def test_background_leak_by_hand() -> None:
    """Of four pictures one is on the source's background, one between that and another, two elsewhere."""
    drawn = np.array([[5.0, 0, 0], [1, 1, 0], [0, 2, 1], [0, 0, 3]])
    assert background_leak(drawn, np.eye(3)) == pytest.approx(1.5 / 4)


def test_alignment_by_hand() -> None:
    """Two concepts, two prompts, two pictures each: cosines .6 and 1, 0 and .8 ..."""
    prompted = np.array([[[[3.0, 4], [7, 0]], [[1, 0], [3, 4]]], [[[0.0, 1], [0, 2]], [[0, 9], [0, -1]]]])
    texts = np.array([[2.0, 0.0], [0.0, 5.0]])
    np.testing.assert_allclose(alignment(prompted, texts), [[0.8, 0.4], [0.0, 0.0]])


def test_who_knows_nothing_of_the_background_leaks_by_chance() -> None:
    rng = np.random.default_rng(0)
    assert background_leak(rng.normal(size=(4000, 16)), rng.normal(size=(8, 16))) == pytest.approx(1 / 8, abs=0.05)
    assert background_leak(np.ones((3, 4)), np.ones((8, 4))) == pytest.approx(1 / 8)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_rows_of_a_matrix_sum_to_1_and_order_only_reorders_it(num: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn, source, order = rng.normal(size=(num, count, 8)), rng.normal(size=(num, 8)), rng.permutation(num)
    source[-1] = source[0]  # a tie
    found = bleed_matrix(drawn, source)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found.min() >= 0
    np.testing.assert_allclose(bleed_matrix(drawn[order], source[order]), found[np.ix_(order, order)])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_perfect_pictures_do_not_bleed(num: int, seed: int) -> None:
    source = np.random.default_rng(seed).normal(size=(num, 32))
    np.testing.assert_array_equal(bleed_matrix(source[:, None] * 2.5, source), np.eye(num))
    everyone = tuple(range(num))
    assert all(recognised_once(source[::-1] * 0.3, source, everyone))
    assert not any(recognised_once(np.concatenate([source, source]), source, everyone))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_alignment_is_a_cosine_and_length_is_of_no_account(num: int, prompts: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn, texts = rng.normal(size=(num, prompts, count, 8)), rng.normal(size=(prompts, 8))
    found = alignment(drawn, texts)
    assert found.shape == (num, prompts) and np.abs(found).max() <= 1 + 1e-9
    np.testing.assert_allclose(alignment(drawn * 3, texts * 0.2), found)
    same = np.broadcast_to(texts[None, :, None], (num, prompts, count, 8))
    np.testing.assert_allclose(alignment(same, texts), 1)
