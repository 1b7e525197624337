"""Tables of numbers in a terminal, and what is being done meanwhile."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from uce.terminal.tables import _table

if TYPE_CHECKING:
    from uce.benchmarking.benchmark import Benchmark
    from uce.evaluation.evaluate import Evaluation


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
