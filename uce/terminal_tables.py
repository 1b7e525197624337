"""Tables of numbers in a terminal, and what is being done meanwhile."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uce.benchmarking.benchmark import Benchmark
    from uce.evaluation.evaluate import Evaluation

HEADS = {
    "sim_i": "SIM^I", "sim_c": "SIM^C", "acc_1": "ACC^1", "acc_3": "ACC^3", "iou": "IoU", "recall": "recall",
    "precision": "precision", "ari": "ARI", "count_error": "count error", "exact_count": "exact count",
    "seconds": "seconds",
}  # fmt: skip


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def _table(first: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """A table with one row per name; columns that no row has are left out. Never cut, whatever the width."""
    keys = [key for key in HEADS if any(values.get(key) is not None for _, values in rows)]
    lines = [[first, *(HEADS[key] for key in keys)]]
    for name, values in rows:
        cells = [values.get(key) for key in keys]
        lines.append([name, *("" if cell is None else f"{cell:.3f}" for cell in cells)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for name, *line in lines:
        cells_text = "".join(f"  {cell:>{width}}" for cell, width in zip(line, widths[1:], strict=True))
        print(f"{name:<{widths[0]}}{cells_text}".rstrip())


def show_evaluation(evaluation: Evaluation, as_json: bool) -> None:
    """One row per encoder; notes on stderr where stdout holds JSON."""
    summary = evaluation.summary()
    for note in summary["notes"]:
        say(f"note: {note}")
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    rows = list(summary["encoders"].items()) or [("masks", summary["masks"])]
    _table("encoder" if summary["encoders"] else "", rows)
    count = len(evaluation.paths)
    where = evaluation.paths[0] / "evaluation.json" if count == 1 else "evaluation.json in each of them"
    print(f"\n{count} run{'s' if count > 1 else ''}; numbers and settings lie in {where}")


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
