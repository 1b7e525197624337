"""From per-picture numbers to rows of a table.

Legend: n pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from uce.benchmarking.statistics import Estimate, estimate

ALL = "all"
METRICS = (
    "sim_i", "sim_c", "acc_1", "acc_3", "iou", "recall", "precision", "ari", "count_error", "exact_count", "seconds",
)  # fmt: skip
LOWER_IS_BETTER = ("count_error", "seconds")


@dataclass(frozen=True)
class Outcome:
    """One method on one picture.

    Attributes:
        values: metric -> (sum of its values, how many); a metric that was not measured is missing.
        error: why there is no run, where there is none.
    """

    method: str
    encoder: str
    picture: str
    labels: tuple[str, ...]
    concepts: int
    values: dict[str, tuple[float, int]] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Row:
    """One method, over all pictures or those with one label."""

    method: str
    encoder: str
    label: str
    pictures: int
    failed: int
    concepts: int
    prototypes: int
    metrics: dict[str, Estimate] = field(default_factory=dict)


def make_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row per method and encoder for all pictures, then one per label in order of appearance."""
    pairs = list(dict.fromkeys((outcome.method, outcome.encoder) for outcome in outcomes))
    labels = list(dict.fromkeys(label for outcome in outcomes for label in outcome.labels))
    prototypes = {pair: sum(o.concepts for o in outcomes if (o.method, o.encoder) == pair) for pair in pairs}
    rows = []
    for label in (ALL, *labels):
        for pair in pairs:
            own = [o for o in outcomes if (o.method, o.encoder) == pair and (label == ALL or label in o.labels)]
            if own:
                rows.append(_row(pair, label, own, prototypes[pair]))
    return rows


def _row(pair: tuple[str, str], label: str, own: Sequence[Outcome], prototypes: int) -> Row:
    metrics: dict[str, Estimate] = {}
    for metric in METRICS:
        found = [outcome.values[metric] for outcome in own if metric in outcome.values]
        value = estimate([total for total, _ in found], [count for _, count in found])
        if value is not None:
            metrics[metric] = value
    failed = sum(outcome.error is not None for outcome in own)
    return Row(*pair, label, len(own), failed, sum(outcome.concepts for outcome in own), prototypes, metrics)


def measured(rows: Iterable[Row]) -> list[str]:
    """Metrics that any row has, in their order."""
    present = {metric for row in rows for metric in row.metrics}
    return [metric for metric in METRICS if metric in present]


def shown(value: Estimate | None, metric: str, with_interval: bool = True) -> str:
    """ "0.483 [0.41, 0.55]" as it stands in a table."""
    if value is None:
        return ""
    text = f"{value.mean:.{_digits(metric)}f}"
    return f"{text} {interval(value, metric)}".rstrip() if with_interval else text


def interval(value: Estimate | None, metric: str) -> str:
    """ "[0.41, 0.55]"; nothing where there is none."""
    if value is None or value.low is None or value.high is None or metric == "seconds":
        return ""
    digits = _digits(metric) - 1
    return f"[{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _digits(metric: str) -> int:
    return {"seconds": 1, "count_error": 2}.get(metric, 3)


def best(rows: Sequence[Row], metric: str) -> float | None:
    """The best mean of a metric among rows."""
    values = [row.metrics[metric].mean for row in rows if metric in row.metrics]
    return (min if metric in LOWER_IS_BETTER else max)(values) if values else None


PUBLISHED = (
    "for comparison, as published by their authors on their own pictures with CLIP (SIM^I / SIM^C / ACC^1 / ACC^3): "
    "ConceptExpress .689 / .784 / .263 / .385, Break-A-Scene .627 / .773 / .174 / .282, ICE .738 / .822 / .325 / .518, "
    "HyperExpress .699 / .786 / .504 / .736; masks .483 and .635 mean IoU"
)
"""Rows of the papers, as citations: measured elsewhere, on other pictures."""
