"""SIM and ACC against values worked out by hand, and what must hold for any pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uce.evaluation.metrics import accuracy, compositional_similarity, cosines, identity_similarity


def test_cosines_by_hand() -> None:
    found = cosines(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0], [-6.0, -8.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8, -1.0], [0.0, 0.0, 0.0]])


def test_identity_similarity_by_hand() -> None:
    """Two concepts, two pictures each: cosines .6 and 1 with the first source, 0 and .8 with the second."""
    drawn = np.array([[[3.0, 4.0], [5.0, 0.0]], [[1.0, 0.0], [3.0, 4.0]]])
    source = np.array([[2.0, 0.0], [0.0, 7.0]])
    np.testing.assert_allclose(identity_similarity(drawn, source), [0.8, 0.4])


def test_compositional_similarity_by_hand() -> None:
    assert compositional_similarity(np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([0.0, 9.0])) == pytest.approx(0.9)


def test_accuracy_by_hand() -> None:
    """Own prototypes on ranks 1, 2 and 4 of four."""
    prototypes = np.eye(4)
    drawn = np.array([[4.0, 3, 2, 1], [4.0, 3, 2, 1], [4.0, 3, 2, 1]])
    owners = np.array([0, 1, 3])
    np.testing.assert_array_equal(accuracy(drawn, owners, prototypes, 1), [1, 0, 0])
    np.testing.assert_array_equal(accuracy(drawn, owners, prototypes, 3), [1, 1, 0])


def test_accuracy_of_a_tie_is_a_fair_draw() -> None:
    """Own prototype ties with one other for rank 2: right in one of two draws at k = 2, surely at k = 3."""
    prototypes = np.array([[1.0, 0], [0, 1.0], [0, 2.0]])
    drawn, owner = np.array([[2.0, 1.0]]), np.array([1])
    assert [accuracy(drawn, owner, prototypes, k)[0] for k in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_an_encoder_that_sees_no_difference_scores_chance() -> None:
    same = np.ones((12, 5))
    assert accuracy(same, np.arange(12), same, 1).mean() == pytest.approx(1 / 12)
    assert accuracy(same, np.arange(12), same, 3).mean() == pytest.approx(3 / 12)


def test_shuffled_labels_give_chance_accuracy() -> None:
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(20, 64))
    owners = np.arange(20).repeat(50)
    drawn = prototypes[owners] + 0.1 * rng.normal(size=(1000, 64))
    assert accuracy(drawn, owners, prototypes, 1).mean() == 1.0
    shuffled = [accuracy(drawn, rng.permutation(owners), prototypes, k).mean() for k in (1, 3)]
    assert shuffled == pytest.approx([1 / 20, 3 / 20], abs=0.03)


rows = st.integers(2, 6)


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_identical_pictures_are_like_1_and_are_told_apart(num: int, count: int, seed: int) -> None:
    source = np.random.default_rng(seed).normal(size=(num, 32))
    drawn = np.repeat(source[:, None], count, axis=1) * 3.7  # length is of no account
    np.testing.assert_allclose(identity_similarity(drawn, source), 1.0)
    assert compositional_similarity(drawn[0], source[0]) == pytest.approx(1.0)
    assert accuracy(drawn.reshape(num * count, -1), np.arange(num).repeat(count), source, 1).min() == 1.0


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(0, 2**32 - 1))
def test_order_of_concepts_does_not_matter(num: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, drawn, order = rng.normal(size=(num, 8)), rng.normal(size=(num, 3, 8)), rng.permutation(num)
    source[-1] = source[0]  # a tie
    np.testing.assert_allclose(
        identity_similarity(drawn, source)[order], identity_similarity(drawn[order], source[order])
    )
    owners = np.arange(num).repeat(3)
    for k in (1, 3):
        plain = accuracy(drawn.reshape(-1, 8), owners, source, k).reshape(num, 3)
        moved = accuracy(drawn[order].reshape(-1, 8), owners, source[order], k).reshape(num, 3)
        np.testing.assert_allclose(plain[order], moved)


@settings(max_examples=30, deadline=None)
@given(rows, st.integers(0, 2**32 - 1))
def test_values_stay_in_their_range_and_acc_3_is_not_below_acc_1(num: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, drawn = rng.normal(size=(num, 4)), rng.normal(size=(num, 2, 4))
    assert np.abs(identity_similarity(drawn, source)).max() <= 1 + 1e-12
    first, third = (accuracy(drawn.reshape(-1, 4), np.arange(num).repeat(2), source, k) for k in (1, 3))
    assert (first <= third).all() and first.min() >= 0 and third.max() <= 1
