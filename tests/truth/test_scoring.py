"""Mask scores against values worked by hand, and properties that any masks have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uce.core.errors import StageInputError
from uce.truth.scoring import MaskScores, match_masks, score_masks


def masks(*rows: str) -> np.ndarray:
    """One mask per string; a row per '/', '#' is inside."""
    return np.array([[[c == "#" for c in line] for line in row.split("/")] for row in rows])


def from_labels(values: list[int], count: int) -> np.ndarray:
    return np.array([np.array(values).reshape(4, 4) == number + 1 for number in range(count)])


LABELS = st.lists(st.integers(0, 3), min_size=16, max_size=16)
TRUTH = LABELS.filter(lambda values: {1, 2, 3} <= set(values)).map(lambda values: from_labels(values, 3))
FOUND = LABELS.map(lambda values: from_labels(values, 3)).map(lambda found: found[found.any(axis=(1, 2))])


def test_half_of_one_thing_by_hand() -> None:
    scores = score_masks(masks("##../...."), masks("####/...."))
    assert (scores.iou, scores.recall, scores.precision, scores.count_error) == (0.5, 0.5, 1.0, 0)
    # Pairs of 8 pixels: 28. Truth joins 6 + 6 of them, found 1 + 15; both join 1 (##) + 1 (..) + 6 (below) = 8.
    expected = 12 * 16 / 28
    assert scores.ari == pytest.approx((8 - expected) / ((12 + 16) / 2 - expected))


def test_best_match_may_serve_two_things_and_a_missed_thing_counts_zero() -> None:
    truth = masks("##......", "..##....", "......##")
    scores = score_masks(masks("####...."), truth)
    assert scores.iou == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.precision == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert scores.count_error == 2


def test_one_to_one_matching_gives_each_mask_once() -> None:
    truth = masks("####....", "....####")
    found = masks("#######.", "......##")
    assert match_masks(found, truth) == {0: (0, pytest.approx(4 / 7)), 1: (1, 0.5)}
    assert match_masks(masks("####...."), truth) == {0: (0, 1.0)}
    assert match_masks(np.zeros((0, 1, 8), bool), truth) == {}


def test_among_equal_ious_the_higher_recall_is_the_match() -> None:
    truth = masks("####....")
    found = masks("##......", "########")  # both IoU 0.5
    for order in (found, found[::-1]):
        scores = score_masks(order, truth)
        assert (scores.iou, scores.recall, scores.precision) == (0.5, 1.0, 0.5)


def test_nothing_found_scores_nothing() -> None:
    scores = score_masks(np.zeros((0, 2, 4), bool), masks("##../....", "..##/...."))
    assert scores == MaskScores(0.0, 0.0, 0.0, 0.0, 2)


def test_an_empty_found_mask_changes_only_the_count() -> None:
    truth = masks("##../....")
    assert score_masks(masks("##../....", "..../...."), truth) == MaskScores(1.0, 1.0, 1.0, 1.0, 1)


def test_overlapping_truth_is_a_partition_too() -> None:
    truth = masks("###.....", "..####..")
    assert score_masks(truth, truth) == MaskScores(1.0, 1.0, 1.0, 1.0, 0)
    assert score_masks(truth[::-1].copy(), truth).ari == 1.0


@pytest.mark.parametrize(
    ("found", "truth", "text"),
    [
        (masks("##"), masks("##/.."), "found masks are 2 x 1 pixels, true ones 2 x 2"),
        (masks("##"), np.zeros((0, 1, 2), bool), "no true thing to compare with"),
        (masks("##"), masks("#.", ".."), "true mask number 1 is empty"),
        (masks("##").astype(int), masks("##"), r"found masks must be a boolean numpy array .* int64 \(1, 1, 2\)"),
        (masks("##"), masks("##")[0], r"truth masks must be a boolean numpy array .* bool \(1, 2\)"),
        (masks("##"), [[True]], "truth masks must be .* found list"),
    ],
)
def test_what_does_not_fit_is_refused(found: np.ndarray, truth: np.ndarray, text: str) -> None:
    with pytest.raises(StageInputError, match=text):
        score_masks(found, truth)


@given(TRUTH)
def test_masks_against_themselves_are_perfect(truth: np.ndarray) -> None:
    assert score_masks(truth, truth) == MaskScores(1.0, 1.0, 1.0, 1.0, 0)


@given(FOUND, TRUTH, st.permutations(range(3)))
def test_order_does_not_matter(found: np.ndarray, truth: np.ndarray, order: list[int]) -> None:
    scores = score_masks(found, truth)
    shuffled = score_masks(found[[k for k in order if k < len(found)]], truth[list(reversed(order))])
    for name in ("iou", "recall", "precision", "ari", "count_error"):
        assert getattr(shuffled, name) == pytest.approx(getattr(scores, name))


@given(FOUND, TRUTH, st.permutations(range(16)))
def test_the_place_of_pixels_does_not_matter(found: np.ndarray, truth: np.ndarray, places: list[int]) -> None:
    moved = [m.reshape(len(m), 16)[:, places].reshape(m.shape) for m in (found, truth)]
    assert score_masks(*moved) == score_masks(found, truth)


@given(FOUND, TRUTH)
def test_scores_stay_in_their_ranges(found: np.ndarray, truth: np.ndarray) -> None:
    scores = score_masks(found, truth)
    assert 0 <= scores.iou <= min(scores.recall, scores.precision) + 1e-12
    assert scores.recall <= 1 and scores.precision <= 1 and scores.ari <= 1
    assert scores.count_error == 3 - len(found)


@given(FOUND, TRUTH)
def test_another_found_mask_never_lowers_the_iou(found: np.ndarray, truth: np.ndarray) -> None:
    for count in range(len(found)):
        assert score_masks(found[:count], truth).iou <= score_masks(found[: count + 1], truth).iou
