"""The means over the pictures as people read them, for the terminal, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uce.ablation.measure import SCORES, columns_of

_HEADS = {"concepts": "concepts", "share": "share", "iou": "IoU", "precision": "precision", "recall": "recall",
          "ari": "ARI", "count_error": "count error"}  # fmt: skip
_BEST_IS_LOW = ("count_error",)


@dataclass(frozen=True)
class Table:
    """Means over the pictures, one row per cell, as text.

    Attributes:
        heads: column titles; the first `num_keys` are the varied keys.
        rows: a text per column.
        best: (row, column) of the best score of each score's column, where the texts differ.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_keys: int
    best: frozenset[tuple[int, int]]


def table_of(document: dict[str, Any]) -> Table:
    """The means as people read them."""
    keys = [item["key"] for item in document["vary"]]
    columns = columns_of(row["measures"] for row in document["means"])
    failing = any(row["failed"] for row in document["means"])
    heads = [*keys, *(["failed"] if failing else []), *(head_of(name) for name in columns)]
    rows, offset = [], len(keys) + failing
    for cell, mean in zip(document["cells"], document["means"], strict=True):
        failed = [f"{mean['failed']} of {mean['pictures']}" if mean["failed"] else ""] if failing else []
        numbers = [text_of(name, mean["measures"].get(name)) for name in columns]
        rows.append((*(cell["values"][key] for key in keys), *failed, *numbers))
    best = set()
    for column, name in enumerate(columns):
        found = {row: mean["measures"][name] for row, mean in enumerate(document["means"]) if name in mean["measures"]}
        if name in SCORES and len({text_of(name, value) for value in found.values()}) > 1:
            top = text_of(name, min(found.values()) if name in _BEST_IS_LOW else max(found.values()))
            best |= {(row, offset + column) for row, value in found.items() if text_of(name, value) == top}
    return Table(tuple(heads), tuple(rows), len(keys), frozenset(best))


def head_of(column: str) -> str:
    """ "seconds.extractor" -> "extractor (s)", "loss.total" -> "loss total"."""
    kind, _, name = column.partition(".")
    return {"seconds": f"{name} (s)", "loss": f"loss {name}"}.get(kind, _HEADS.get(column, column))


def text_of(column: str, value: float | None) -> str:
    """A measure in as many digits as people compare."""
    if value is None:
        return ""
    if column == "share":
        return f"{value:.1%}"
    if column in ("concepts", "count_error"):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if column.startswith("seconds."):
        return f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return f"{value:.3g}" if column.startswith("loss.") else f"{value:.3f}"


def count_lines(document: dict[str, Any]) -> list[str]:
    """ "extractor: computed 2, reused 10" for every stage."""
    return [f"{slot}: computed {n['computed']}, reused {n['reused']}" for slot, n in document["counts"].items()]


def failure_lines(document: dict[str, Any]) -> list[str]:
    """ "clusterer=kmeans on desk: what went wrong"."""
    titles = {cell["name"]: cell["title"] for cell in document["cells"]}
    return [
        f"{titles[result['cell']]} on {result['picture']}: {result['error']}"
        for result in document["results"]
        if result["status"] == "failed"
    ]
