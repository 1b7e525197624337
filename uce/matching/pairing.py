"""From scores to pairs, from pairs to things that are seen in several runs, from things to commands.

Legend: R runs; A, B concepts of two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Scores = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pair:
    """Two concepts that are proposed to be one thing.

    Attributes:
        left, right: (number of the run, row of the concept in it), the run's number lower on the left.
        score: how much alike they look, at most 1.
    """

    left: tuple[int, int]
    right: tuple[int, int]
    score: float


def assign(scores_AB: Scores, threshold: float) -> list[tuple[int, int]]:
    """Pairs (a, b) of the assignment with the highest sum, each concept in one pair at most; those that score at least
    `threshold`. A pair below it is worth nothing, so that it never keeps a good one from its place."""
    from scipy.optimize import linear_sum_assignment

    if 0 in scores_AB.shape:
        return []
    rows, columns = linear_sum_assignment(np.maximum(scores_AB - threshold, 0), maximize=True)
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(a, b) for a, b in chosen if scores_AB[a, b] >= threshold]


def joined(pairs: Sequence[Pair]) -> list[dict[int, int]]:
    """Things: run -> row of the concept in it. The strongest pairs come first; one that would put two concepts of one
    run into a thing is left out."""
    things: list[dict[int, int]] = []
    for pair in sorted(pairs, key=lambda pair: -pair.score):
        ends = [dict([pair.left]), dict([pair.right])]
        parts = [next((t for t in things if end.items() <= t.items()), end) for end in ends]
        if parts[0] is parts[1] or parts[0].keys() & parts[1].keys():
            continue
        things = [thing for thing in things if all(thing is not part for part in parts)]
        things.append({**parts[0], **parts[1]})
    return sorted((dict(sorted(thing.items())) for thing in things), key=lambda thing: [*thing.items()])


def learnable(things: Mapping[str, Mapping[int, int]]) -> Iterator[list[str]]:
    """Names of things that one run can learn together: those that some picture shows all of."""
    left = dict(things)
    while left:
        first = next(iter(left))
        chosen, common = [first], set(left.pop(first))
        for name in [*left]:
            if common & set(left[name]):
                common &= set(left.pop(name))
                chosen.append(name)
        yield chosen
