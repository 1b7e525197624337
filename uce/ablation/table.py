"""The means over the pictures as people read them, for the terminal, Markdown and HTML."""

from __future__ import annotations

from typing import Any

from uce.many.measures import SCORES, columns_of
from uce.many.tables import LOWER_IS_BETTER, Table, head_of, text_of


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
            top = text_of(name, min(found.values()) if name in LOWER_IS_BETTER else max(found.values()))
            best |= {(row, offset + column) for row, value in found.items() if text_of(name, value) == top}
    return Table(tuple(heads), tuple(rows), len(keys), frozenset(best))


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
