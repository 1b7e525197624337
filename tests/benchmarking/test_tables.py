"""Rows, against values worked out by hand."""

from __future__ import annotations

import pytest

from uce.benchmarking.table import Measured, Row, best, make_rows, measured, shown
from uce.many.statistics import Estimate


def outcome(method: str, picture: str, iou: float, labels: tuple[str, ...], error: str | None = None) -> Measured:
    return Measured(method, "e", picture, labels, {"concepts": 0 if error else 2, "iou": iou, "seconds": 3.0}, error)


def test_rows_by_label() -> None:
    rows = make_rows(
        [
            outcome("a", "x", 0.2, ("small", "2 things")),
            outcome("a", "y", 0.6, ("2 things",)),
            outcome("b", "x", 0.0, ("small", "2 things"), error="nothing found"),
            outcome("b", "y", 0.8, ("2 things",)),
        ]
    )
    found = {(row.label, row.method): row for row in rows}
    assert list(found) == [(label, method) for label in ("all", "small", "2 things") for method in ("a", "b")]
    assert found["all", "a"].metrics["iou"].mean == pytest.approx(0.4)
    assert found["small", "a"].metrics["iou"] == Estimate(0.2, None, None)
    assert (found["all", "b"].failed, found["all", "b"].concepts, found["all", "b"].prototypes) == (1, 2, 2)
    assert measured(rows) == ["iou", "seconds"]
    assert best([found["all", "a"], found["all", "b"]], "iou") == pytest.approx(0.4)
    assert best([found["all", "a"]], "acc_1") is None


@pytest.mark.parametrize(("metric", "wanted"), [("iou", 0.9), ("seconds", 2.0), ("count_error", 2.0)])
def test_the_best_of_a_column_where_low_is_best_is_the_lowest(metric: str, wanted: float) -> None:
    values = (0.1, 0.9) if metric == "iou" else (7.0, 2.0)
    rows = [Row(str(value), "e", "all", 1, 0, 1, 1, {metric: Estimate(value, None, None)}) for value in values]
    assert best(rows, metric) == wanted


def test_what_is_shown() -> None:
    assert shown(Estimate(0.48312, 0.4141, 0.5566), "iou") == "0.483 [0.41, 0.56]"
    assert shown(Estimate(0.48312, 0.4141, 0.5566), "iou", False) == "0.483"
    assert shown(Estimate(12.345, 1.0, 20.0), "seconds") == "12.3"
    assert shown(Estimate(0.5, None, None), "iou") == "0.500" and shown(None, "iou") == ""
