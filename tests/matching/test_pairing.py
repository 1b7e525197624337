"""From scores to pairs, things and commands."""

from __future__ import annotations

import numpy as np

from uce.matching.pairing import Pair, assign, joined, learnable


def test_each_concept_goes_into_one_pair_and_the_best_sum_wins() -> None:
    scores = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert assign(scores, 0.5) == [(0, 1), (1, 0)]  # the greedy choice, 0.9, would leave 0.1
    assert assign(scores[:1], 0.5) == [(0, 0)]


def test_a_pair_below_the_threshold_keeps_no_good_one_from_its_place() -> None:
    scores = np.array([[0.9, 0.6], [0.6, 0.2]])
    assert assign(scores, 0.7) == [(0, 0)]
    assert assign(scores, 0.95) == []
    assert assign(np.zeros((0, 3)), 0.0) == [] == assign(np.zeros((2, 0)), 0.0)


def test_pairs_of_three_runs_become_one_thing_and_no_run_is_in_it_twice() -> None:
    pairs = [Pair((0, 0), (1, 2), 0.9), Pair((1, 2), (2, 1), 0.8), Pair((0, 3), (2, 1), 0.7), Pair((0, 3), (1, 0), 0.6)]
    assert joined(pairs) == [{0: 0, 1: 2, 2: 1}, {0: 3, 1: 0}]
    two = [Pair((0, 0), (1, 0), 0.9), Pair((2, 0), (3, 0), 0.8), Pair((0, 0), (2, 0), 0.7)]
    assert joined(two) == [{0: 0, 1: 0, 2: 0, 3: 0}]


def test_things_are_learned_together_where_a_picture_shows_them_all() -> None:
    things = {"cup": {0: 0, 1: 0}, "cat": {1: 1, 2: 0}, "dog": {2: 1, 3: 0}}
    assert [*learnable(things)] == [["cup", "cat"], ["dog"]]
    assert [*learnable({})] == []
