"""What the tokens of many runs are worth, as numbers of tables."""

from __future__ import annotations

from collections.abc import Mapping

from uce.evaluation.scores import RunFeatures, pooled, score_runs
from uce.evaluation.word_scores import score_words
from uce.many.measures import LIKENESS, Measures


def bleed_of(features: RunFeatures) -> list[list[float]] | None:
    """One run's matrix, rows drawn, columns recognised; None with one concept."""
    words = None if features.words is None else score_words(features.words, features.drawn)
    return None if words is None or words.bleed is None else words.bleed.tolist()


def likeness(features: Mapping[str, RunFeatures]) -> dict[str, Measures]:
    """The measures of `LIKENESS` that every run has; ACC among the concepts of all of them."""
    if not features:
        return {}
    scores = dict(zip(features, score_runs(list(features.values())), strict=True))
    found = {name: pooled([score]) for name, score in scores.items()}
    return {name: {key: row[key] for key in LIKENESS if row.get(key) is not None} for name, row in found.items()}
