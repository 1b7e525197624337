"""Tables of numbers in a terminal, and what is being done meanwhile."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from uce.evaluation.word_scores import ONCE
from uce.terminal.tables import _table, text_table

if TYPE_CHECKING:
    from uce.benchmarking.benchmark import Benchmark
    from uce.evaluation.evaluate import Evaluation

_SHOWN = 4
"""Runs whose matrices are printed."""


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def show_evaluation(evaluation: Evaluation, as_json: bool) -> None:
    """One row per encoder; notes on stderr where stdout holds JSON."""
    summary = evaluation.summary()
    for note in summary["notes"]:
        say(f"note: {note}")
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    once = {key: summary[key] for key in ONCE if key in summary}
    rows = [
        (name, {**values, **(once if number == 0 else {})})
        for number, (name, values) in enumerate(summary["encoders"].items())
    ]
    _table("encoder" if rows else "", rows or [("masks", summary["masks"])])
    _show_bleed(summary)
    count = len(evaluation.paths)
    where = evaluation.paths[0] / "evaluation.json" if count == 1 else "evaluation.json in each of them"
    print(f"\n{count} run{'s' if count > 1 else ''}; numbers and settings lie in {where}")


def _show_bleed(summary: dict[str, Any]) -> None:
    """The matrices of a few runs; those of many are for programs."""
    matrices = {run: matrix for run, matrix in summary.get("bleed", {}).items() if matrix is not None}
    for run, matrix in list(matrices.items())[:_SHOWN]:
        print(f"\n{run}: drawn from each token (rows), recognised as each concept (columns)")
        head = ["", *map(str, range(len(matrix)))]
        print(*text_table([head, *([str(k), *(f"{v:.2f}" for v in row)] for k, row in enumerate(matrix))]), sep="\n")
    if len(matrices) > _SHOWN:
        print(f"\n{len(matrices) - _SHOWN} more matrices lie in the runs' evaluation.json")


def show_benchmark(result: Benchmark, as_json: bool) -> None:
    """The rows over all pictures."""
    summary = result.summary()
    for note in summary["notes"]:
        say(f"note: {note}")
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    rows = [row for row in summary["rows"] if row["label"] == "all"]
    several = len({row["encoder"] for row in rows}) > 1
    _table("method", [(f"{r['method']} ({r['encoder']})" if several else r["method"], r) for r in rows])
    print(f"\nlook at {result.path / 'index.html'}; tables with intervals: {result.path / 'table.md'}, table.csv")
