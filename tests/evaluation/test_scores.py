"""Several runs together: shared prototypes, means over concepts, the lower bound, what is said about small sets."""

from __future__ import annotations

import numpy as np
import pytest

from uce.evaluation.scores import RunFeatures, accuracy_note, another_runs_tokens, pooled, score_runs


def features(*directions: int, width: int = 16) -> RunFeatures:
    """A run whose pictures are exactly its sources; each concept looks in a direction of its own."""
    prototypes = np.eye(width)[list(directions)]
    drawn = np.repeat(prototypes[:, None], 2, axis=1)
    source = prototypes.sum(axis=0)
    return RunFeatures(source, prototypes, drawn, np.stack([source, source]))


def test_perfect_runs_score_1() -> None:
    found = pooled(score_runs([features(0, 1), features(2, 3, 4)]))
    expected = {"sim_i": 1, "sim_c": 1, "acc_1": 1, "acc_3": 1, "acc_meaningful": False, "prototypes": 5}
    assert found == pytest.approx(expected)


def test_prototypes_of_all_runs_compete() -> None:
    """Alone each run is right; the second run has a thing that looks the same, so the first is a tie then."""
    first, second = features(0, 1), features(0, 2)
    assert pooled(score_runs([first]))["acc_1"] == 1
    together = score_runs([first, second])
    np.testing.assert_allclose(together[0].acc_1, [0.5, 1])
    np.testing.assert_allclose(together[1].acc_1, [0.5, 1])


def test_means_are_over_concepts_not_runs() -> None:
    """A run of one concept (cosine 0) and one of three (cosine 1): 3 / 4; SIM^C is the mean of the two runs."""
    bad = features(0)
    bad = RunFeatures(bad.source, bad.prototypes, np.roll(bad.drawn, 9, axis=-1), np.roll(bad.together, 9, axis=-1))
    found = pooled(score_runs([bad, features(1, 2, 3)]))
    assert found["sim_i"] == pytest.approx(0.75) and found["sim_c"] == pytest.approx(0.5)
    assert found["acc_1"] == pytest.approx((1 / 4 + 3) / 4)  # the bad picture is like nothing: a draw among four


def test_order_of_runs_does_not_matter() -> None:
    runs = [features(0, 1), features(1, 2, 3), features(4)]
    assert pooled(score_runs(runs)) == pytest.approx(pooled(score_runs(runs[::-1])))


def test_one_prototype_gives_no_accuracy() -> None:
    found = pooled(score_runs([features(0)]))
    assert found["acc_1"] is None and found["acc_3"] is None and found["sim_i"] == 1
    assert "needs at least 2 prototypes, found 1" in str(accuracy_note(1))


def test_fewer_than_ten_are_flagged() -> None:
    nine, ten = [pooled(score_runs([features(*range(num))])) for num in (9, 10)]
    assert (nine["acc_meaningful"], ten["acc_meaningful"]) == (False, True)
    assert "among 9 prototypes means little (chance is 11% and 33%)" in str(accuracy_note(9))
    assert accuracy_note(10) is None


def test_lower_bound_shows_the_next_runs_pictures() -> None:
    runs = [features(0, 1, 2), features(3, 4)]
    shown = another_runs_tokens(runs)
    np.testing.assert_array_equal(shown[0].drawn[:, 0].argmax(axis=1), [3, 4, 3])
    np.testing.assert_array_equal(shown[1].drawn[:, 0].argmax(axis=1), [0, 1])
    np.testing.assert_array_equal(shown[0].prototypes, runs[0].prototypes)
    found = pooled(score_runs(shown))
    assert found["sim_i"] == 0 and found["sim_c"] == 0 and found["acc_1"] == 0
