"""The means as people read them."""

from __future__ import annotations

from typing import Any

from uce.ablation.report import _mean, csv_of, latex_of, markdown_of
from uce.ablation.table import about_lines, table_of, tables_of
from uce.many.tables import text_of

PICTURES = ["a|b", "c", "d", "e", "f", "g"]
Rows = dict[str, list[float | None]]


def document(rows: Rows, seeds: int = 1) -> dict[str, Any]:
    """One row per name, the first the base, with an IoU per picture (and seed, seeds of one picture together)."""
    cells = {name: [f"{name}-{seed}" for seed in range(seeds)] for name in rows}
    pictures = PICTURES[: len(next(iter(rows.values()))) // seeds]
    results = []
    for name, values in rows.items():
        for number, iou in enumerate(values):
            result: dict[str, Any] = {"cell": cells[name][number % seeds], "picture": pictures[number // seeds],
                                      "status": "done", "error": None, "stages": [], "measures": {}}  # fmt: skip
            if iou is None:
                result |= {"status": "failed", "error": "no <luck>"}
            else:
                result["measures"] = {"concepts": 2.5, "share": 0.25, "iou": iou, "count_error": 1}
            results.append(result)
    told = [
        {"cell": cells[name][0], "cells": cells[name], "title": f"clusterer={name}", "values": {"clusterer": name},
         "settings": ""}
        for name in rows
    ]  # fmt: skip
    by = {(result["cell"], result["picture"]): result for result in results}
    return {
        "vary": [{"key": "clusterer", "values": list(rows)}, {"key": "seed", "values": list("0123"[:seeds])}],
        "pictures": [{"name": name} for name in pictures],
        "base": told[0]["cell"],
        "cells": [
            {"name": cell, "title": f"clusterer={name}", "values": {"clusterer": name, "seed": cell[-1]}}
            for name in rows
            for cell in cells[name]
        ],
        "results": results,
        "means": [_mean(row, told[0], by, pictures) for row in told],
        "counts": {"extractor": {"computed": 1, "reused": len(rows) - 1}},
    }


def marked(rows: Rows) -> set[str]:
    """Names of the rows whose IoU is marked."""
    table = table_of(document(rows))
    column = table.heads.index("IoU")
    return {table.rows[row][0] for row, at in table.best if at == column}


def test_a_better_row_is_marked_only_where_the_interval_excludes_the_base() -> None:
    assert marked({"base": [0.5, 0.6, 0.7] * 2, "x": [0.6, 0.7, 0.8] * 2}) == {"x"}
    assert marked({"base": [0.5, 0.6, 0.7] * 2, "x": [0.7, 0.3, 0.9] * 2}) == set(), "a third is worse: may be chance"
    assert marked({"base": [0.5, 0.6, 0.7], "x": [0.6, 0.7, 0.8]}) == set(), "three pictures prove nothing"
    assert marked({"base": [0.5], "x": [0.9]}) == set(), "one picture has no interval"


def test_the_base_is_marked_where_all_others_are_clearly_worse() -> None:
    base = [0.5, 0.6, 0.7] * 2
    assert marked({"base": base, "x": [0.4, 0.5, 0.6] * 2}) == {"base"}
    assert marked({"base": base, "x": [0.4, 0.5, 0.6] * 2, "y": [0.1, 0.9, 0.6] * 2}) == set()
    assert marked({"base": base, "x": base}) == set(), "all alike"


def test_a_row_says_n_spread_difference_and_interval() -> None:
    ((title, masks),) = tables_of(document({"base": [0.5, 0.6, 0.7], "x": [0.6, 0.7, None]}))
    assert title == "Masks" and masks.heads == ("clusterer", "n", "failed", "concepts", "share", "IoU", "count error")
    assert masks.rows[0] == ("base", "3", "", "2.5 ± 0", "25.0%", "0.600 ± 0.100", "1 ± 0")
    assert masks.rows[1][:5] == ("x", "2", "1 of 3", "2.5 ± 0", "25.0%")
    assert masks.rows[1][5] == "0.650 ± 0.071\n+0.100\n[+0.100, +0.100]", "over the two pictures that both have"


def test_seeds_of_one_picture_are_drawn_together() -> None:
    """Two seeds that cancel out within each picture leave nothing to doubt between pictures."""
    rows: Rows = {"base": [0.5, 0.5, 0.6, 0.6], "x": [0.5, 0.7, 0.6, 0.8]}
    found = document(rows, seeds=2)["means"][1]
    assert found["runs"] == 4 and found["pictures"] == 2
    assert [round(found["difference"]["iou"][key], 6) for key in ("mean", "low", "high")] == [0.1, 0.1, 0.1]
    alone = document({"base": [0.5, 0.5], "x": [0.5, 0.7]}, seeds=2)
    assert round(alone["means"][1]["difference"]["iou"]["high"], 6) == 0.2, "of one picture, seeds are drawn"
    assert "over seeds" in " ".join(about_lines(alone))


def test_markdown_has_two_lines_per_cell_escapes_and_counts() -> None:
    text = markdown_of(document({"base": [0.5, 0.6, 0.7], "x|y": [0.6, 0.7, None]}))
    assert "2 configurations on 3 pictures: a\\|b, c, d." in text and "- extractor: computed 1, reused 1\n" in text
    assert "| x\\|y | 2 | 1 of 3 | 2.5 ± 0 | 25.0% | 0.650 ± 0.071<br>+0.100 [+0.100, +0.100] |" in text
    assert "clusterer=x\\|y on d: no &lt;luck>" in text
    assert "paired difference to the row 'clusterer=base' and its 95% bootstrap interval over pictures." in text


def test_latex_has_a_line_under_each_row_and_escapes() -> None:
    text = latex_of(document({"base_1": [0.5, 0.6, 0.7] * 2, "x": [0.6, 0.7, 0.8] * 2}))
    assert r"\begin{tabular}{lrrrrr}" in text and "base\\_1 & 6 &" in text
    assert r"x & 6 & 2.5 $\pm$ 0 & 25.0\% & \textbf{0.700 $\pm$ 0.089} & 1 $\pm$ 0 \\" in text
    assert r"{\scriptsize +0.100 [+0.100, +0.100]}" in text and text.count(r"\end{tabular}") == 1


def test_csv_has_spread_and_interval_in_the_rows_of_means() -> None:
    import csv

    mean, other, *single = csv.DictReader(csv_of(document({"base": [0.5, 0.7], "x": [0.6, 0.9]})).splitlines())
    assert (mean["picture"], mean["n"], mean["iou"], mean["iou_difference"]) == ("(mean)", "2", "0.6", "")
    assert [other[f"iou_{end}"] for end in ("difference", "low", "high")] == ["0.15", "0.1", "0.2"]
    assert len(single) == 4 and single[0]["iou"] == "0.5" and single[0]["seed"] == "0"


def test_numbers_have_as_many_digits_as_people_compare() -> None:
    assert [text_of("seconds.total", value) for value in (0.004, 2.5, 118.4)] == ["0.00", "2.50", "118"]
    assert [text_of("concepts", value) for value in (2.0, 2.5, 7 / 3)] == ["2", "2.5", "2.33"]
    assert text_of("loss.total", 1.23456e-5) == "1.23e-05" and text_of("iou", None) == ""
