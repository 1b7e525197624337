"""From features to the protocol's numbers.

Legend: R runs; K concepts of one run; P pictures drawn of each; C prototypes; D width of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uce.core.model.encoder import Encoder
from uce.evaluation.metrics import (
    LEAST_PROTOTYPES,
    MEANINGFUL_PROTOTYPES,
    Array,
    accuracy,
    compositional_similarity,
    identity_similarity,
)
from uce.evaluation.pictures import RunPictures
from uce.evaluation.word_scores import (
    WordFeatures,
    WordScores,
    another_runs_words,
    encode_words,
    pooled_words,
    score_words,
)


@dataclass(frozen=True, eq=False)
class RunFeatures:
    """What one encoder sees in a run's pictures.

    Attributes:
        source: (D,). prototypes: (K, D), of the masked sources. drawn: (K, P, D). together: (P, D).
        words: what is measured beside the protocol; None where nobody asks.
    """

    source: Array
    prototypes: Array
    drawn: Array
    together: Array
    words: WordFeatures | None = None


@dataclass(frozen=True, eq=False)
class RunScores:
    """One run's numbers; per concept float64 (K,). `acc_1` and `acc_3` are None where there are too few prototypes."""

    sim_i: Array
    sim_c: float
    acc_1: Array | None
    acc_3: Array | None
    words: WordScores | None = None


def encode_run(encoder: Encoder, pictures: RunPictures) -> RunFeatures:
    """Features of all pictures of a run."""
    flat = [picture for row in pictures.drawn for picture in row]
    everything = encoder.encode([pictures.source, *pictures.masked, *flat, *pictures.together])
    num, count = len(pictures.masked), len(pictures.drawn[0])
    drawn = everything[1 + num : 1 + num + num * count].reshape(num, count, -1)
    together = everything[1 + num + num * count :]
    return RunFeatures(everything[0], everything[1 : 1 + num], drawn, together, encode_words(encoder, pictures))


def another_runs_tokens(runs: Sequence[RunFeatures]) -> list[RunFeatures]:
    """The lower bound: every run keeps its sources, and is shown what the next run's tokens draw.

    Concept k gets the pictures of the next run's concept k (counted round where that has fewer).
    """
    found = []
    for number, run in enumerate(runs):
        donor = runs[(number + 1) % len(runs)]
        rows = [k % len(donor.drawn) for k in range(len(run.prototypes))]
        words = None if run.words is None or donor.words is None else another_runs_words(run.words, donor.words, rows)
        found.append(RunFeatures(run.source, run.prototypes, donor.drawn[rows], donor.together, words))
    return found


def score_runs(runs: Sequence[RunFeatures]) -> list[RunScores]:
    """SIM^I, SIM^C of every run, and ACC among the prototypes of all of them."""
    prototypes = np.concatenate([run.prototypes for run in runs])
    starts = np.cumsum([0, *(len(run.prototypes) for run in runs)])
    return [_score(run, prototypes, int(start)) for run, start in zip(runs, starts[:-1], strict=True)]


def _score(run: RunFeatures, prototypes: Array, start: int) -> RunScores:
    num, count = run.drawn.shape[:2]
    owners = start + np.arange(num).repeat(count)
    acc_1 = acc_3 = None
    if len(prototypes) >= LEAST_PROTOTYPES:
        flat = run.drawn.reshape(num * count, -1)
        acc_1, acc_3 = (accuracy(flat, owners, prototypes, k).reshape(num, count).mean(axis=1) for k in (1, 3))
    return RunScores(
        identity_similarity(run.drawn, run.prototypes),
        compositional_similarity(run.together, run.source),
        acc_1,
        acc_3,
        None if run.words is None else score_words(run.words, run.drawn),
    )


def pooled(scores: Sequence[RunScores]) -> dict[str, Any]:
    """The four numbers over several runs: SIM^I and ACC are means over concepts, SIM^C over runs.

    Returns:
        `sim_i`, `sim_c`, `acc_1`, `acc_3` (None below two prototypes), `acc_meaningful`, `prototypes`; where words were
        measured those of `pooled_words`.
    """
    num = sum(len(run.sim_i) for run in scores)
    document: dict[str, Any] = {
        "sim_i": float(np.concatenate([run.sim_i for run in scores]).mean()),
        "sim_c": float(np.mean([run.sim_c for run in scores])),
    }
    for key in ("acc_1", "acc_3"):
        rows = [getattr(run, key) for run in scores]
        document[key] = None if rows[0] is None else float(np.concatenate(rows).mean())
    words = [run.words for run in scores if run.words is not None]
    more = pooled_words(words) if words else {}
    return {**document, "acc_meaningful": num >= MEANINGFUL_PROTOTYPES, "prototypes": num, **more}


def accuracy_note(prototypes: int) -> str | None:
    """What is to be said about ACC with so few prototypes; None where nothing is."""
    if prototypes < LEAST_PROTOTYPES:
        return f"ACC needs at least {LEAST_PROTOTYPES} prototypes, found {prototypes}; evaluate more runs together"
    if prototypes < MEANINGFUL_PROTOTYPES:
        return (
            f"ACC among {prototypes} prototypes means little (chance is {1 / prototypes:.0%} and "
            f"{min(1, 3 / prototypes):.0%}); evaluate runs with at least {MEANINGFUL_PROTOTYPES} concepts together"
        )
    return None
