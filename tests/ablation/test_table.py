"""The means as people read them."""

from __future__ import annotations

from typing import Any

from uce.ablation.report import markdown_of
from uce.ablation.table import table_of
from uce.many.tables import text_of


def document(*ious: float | None, failed: int = 0) -> dict[str, Any]:
    """One cell per IoU, on one picture; the first has failed."""
    names = [f"seed-{n}" for n in range(len(ious))]
    measures = [{} if iou is None else {"concepts": 2.5, "share": 0.25, "iou": iou, "count_error": 1} for iou in ious]
    return {
        "vary": [{"key": "seed", "values": [str(n) for n in range(len(ious))]}],
        "pictures": [{"name": "a|b"}],
        "cells": [{"name": n, "title": f"seed={i}", "values": {"seed": str(i)}} for i, n in enumerate(names)],
        "results": [{"cell": n, "picture": "a|b", "status": "done", "error": None} for n in names],
        "means": [
            {"cell": n, "pictures": 1, "failed": failed if i == 0 else 0, "measures": m}
            for i, (n, m) in enumerate(zip(names, measures, strict=True))
        ],
        "counts": {"extractor": {"computed": 1, "reused": len(ious) - 1}},
    }


def test_the_best_score_is_marked_and_ties_as_they_are_read() -> None:
    table = table_of(document(0.5, 0.70001, 0.7))
    assert table.heads == ("seed", "concepts", "share", "IoU", "count error")
    assert table.rows[1] == ("1", "2.5", "25.0%", "0.700", "1")
    assert table.best == {(1, 3), (2, 3)}, "and nothing where all are alike"


def test_failures_have_a_column_only_where_there_are_some() -> None:
    table = table_of(document(None, 0.5, failed=1))
    assert table.heads[:2] == ("seed", "failed")
    assert table.rows == (("0", "1 of 1", "", "", "", ""), ("1", "", "2.5", "25.0%", "0.500", "1"))


def test_markdown_aligns_escapes_and_counts() -> None:
    text = markdown_of(document(0.5, 0.7))
    assert "2 cells on 1 picture: a\\|b." in text and "- extractor: computed 1, reused 1\n" in text
    assert table_of(document(0.5, 0.7)).markdown().splitlines() == [
        "| seed | concepts | share | IoU | count error |",
        "| :-- | --: | --: | --: | --: |",
        "| 0 | 2.5 | 25.0% | 0.500 | 1 |",
        "| 1 | 2.5 | 25.0% | **0.700** | 1 |",
    ]


def test_numbers_have_as_many_digits_as_people_compare() -> None:
    assert [text_of("seconds.total", value) for value in (0.004, 2.5, 118.4)] == ["0.00", "2.50", "118"]
    assert [text_of("concepts", value) for value in (2.0, 2.5, 7 / 3)] == ["2", "2.5", "2.33"]
    assert text_of("loss.total", 1.23456e-5) == "1.23e-05" and text_of("iou", None) == ""
