"""What tokens are worth, from features."""

from __future__ import annotations

import numpy as np

from uce.evaluation.scores import RunFeatures
from uce.many.likeness import likeness


def test_accuracy_is_among_the_concepts_of_all_runs() -> None:
    axes = np.eye(4)
    runs = {
        name: RunFeatures(axes[row], axes[row : row + 1], axes[None, row : row + 1], axes[drawn : drawn + 1])
        for name, row, drawn in (("a", 0, 0), ("b", 1, 2))
    }
    assert likeness(runs) == {
        "a": {"sim_i": 1.0, "sim_c": 1.0, "acc_1": 1.0, "acc_3": 1.0},
        "b": {"sim_i": 1.0, "sim_c": 0.0, "acc_1": 1.0, "acc_3": 1.0},
    }
    assert likeness({"a": runs["a"]}) == {"a": {"sim_i": 1.0, "sim_c": 1.0}}, "one concept is told from nothing"
    assert likeness({}) == {}
