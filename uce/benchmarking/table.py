"""From per-picture numbers to rows of a table.

Legend: n pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from uce.many.measures import WORDS, Measures, contributions
from uce.many.statistics import Estimate, estimate
from uce.many.tables import LOWER_IS_BETTER

ALL = "all"
METRICS = (
    "sim_i", "sim_c", "acc_1", "acc_3", "iou", "recall", "precision", "ari", "count_error", "exact_count", *WORDS,
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One method on one picture.

    Attributes:
        measures: "concepts" and every number that it has there.
        error: why there is no run, where there is none.
        bleed: which concept of the picture is recognised (columns) in what each one's token draws (rows).
    """

    method: str
    encoder: str
    picture: str
    labels: tuple[str, ...]
    measures: Measures = field(default_factory=dict)
    error: str | None = None
    bleed: list[list[float]] | None = None

    @property
    def concepts(self) -> int:
        return int(self.measures.get("concepts", 0))


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


def make_rows(found: Sequence[Measured]) -> list[Row]:
    """A row per method and encoder for all pictures, then one per label in order of appearance."""
    pairs = list(dict.fromkeys((one.method, one.encoder) for one in found))
    labels = list(dict.fromkeys(label for one in found for label in one.labels))
    prototypes = {pair: sum(o.concepts for o in found if (o.method, o.encoder) == pair) for pair in pairs}
    rows = []
    for label in (ALL, *labels):
        for pair in pairs:
            own = [o for o in found if (o.method, o.encoder) == pair and (label == ALL or label in o.labels)]
            if own:
                rows.append(_row(pair, label, own, prototypes[pair]))
    return rows


def _row(pair: tuple[str, str], label: str, own: Sequence[Measured], prototypes: int) -> Row:
    metrics: dict[str, Estimate] = {}
    for metric in METRICS:
        value = estimate(*contributions(metric, [one.measures for one in own]))
        if value is not None:
            metrics[metric] = value
    failed = sum(one.error is not None for one in own)
    return Row(*pair, label, len(own), failed, sum(one.concepts for one in own), prototypes, metrics)


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
