"""Run every method on the test scenes and write the tables of docs/benchmarks.md.

    python benchmarks/tables.py -o OUT               runs what is missing in OUT, then writes the tables
    python benchmarks/tables.py -o OUT --only-tables  writes them from what is in OUT

The page holds `<!-- benchmark: NAME -->` and `<!-- end benchmark -->`; what lies between is made here.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from uce.evaluation.metrics import HEADS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(<!-- end benchmark -->)", re.DOTALL)
COMMON = ("uce", "benchmark", "--pictures", "test", "--methods-file", "benchmarks/budget.yaml", "--methods")
COMMANDS = {
    "masks": (*COMMON, "default paper diffseg random-masks", "--masks-only"),
    "tokens": (*COMMON, "all", "--limit", "12", "-n", "2", "--steps", "15", "--set", "evaluate.source=crop",
               "--set", "evaluate.fill=grey"),
}  # fmt: skip
"""Masks cost a second a scene, tokens a quarter of a minute: so all scenes for those, every other one for these."""
TOKENS = ("sim_i", "sim_c", "acc_1", "acc_3", "seconds")
MASKS = ("iou", "recall", "precision", "ari", "count_error", "exact_count")
HARD = ("default", "paper")
Documents = dict[str, dict[str, Any]]


def run(out: Path) -> None:
    """The benchmarks themselves; goes on where an earlier call was stopped."""
    for name, command in COMMANDS.items():
        folder = out.resolve() / name
        going_on = ["--resume"] if (folder / "benchmark.json").is_file() else []
        subprocess.run([*command, "-o", str(folder), *going_on], cwd=ROOT, check=True)


def read(out: Path) -> Documents:
    """Name of the benchmark -> its benchmark.json."""
    found = {}
    for name in COMMANDS:
        found[name] = json.loads((out / name / "benchmark.json").read_text(encoding="utf-8"))
        if found[name].get("status") != "done":
            raise SystemExit(f"{out / name} is not finished; run without --only-tables")
    return found


def cell(row: dict[str, Any], metric: str, interval: bool = True) -> str:
    """A mean with its 95% interval; nothing where the method has none."""
    value, low, high = (row.get(f"{metric}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return ""
    if metric == "seconds":
        return f"{value:.0f}"
    span = f" [{low:.2f}, {high:.2f}]" if interval and low is not None and high is not None else ""
    return f"{value:.3f}{span}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def tokens(found: Documents) -> str:
    """What the learned tokens are worth, all methods."""
    rows = [row for row in found["tokens"]["rows"] if row["label"] == "all"]
    body = [[f"`{r['method']}`", str(r["concepts"]), *(cell(r, metric) for metric in TOKENS)] for r in rows]
    return table(["method", "concepts", *(HEADS[metric] for metric in TOKENS)], body)


def masks(found: Documents) -> str:
    """Localisation; methods that learn on the masks of `default` are not among them."""
    rows = [row for row in found["masks"]["rows"] if row["label"] == "all"]
    body = [[f"`{r['method']}`", str(r["failed"]), *(cell(r, metric) for metric in MASKS)] for r in rows]
    return table(["method", "found nothing", *(HEADS[metric] for metric in MASKS)], body)


def difficulty(found: Documents) -> str:
    """`default` and `paper` by what makes a scene hard: masks of all scenes, tokens of those that were learned."""
    shown = (("masks", "iou"), ("masks", "recall"), ("masks", "exact_count"), ("tokens", "sim_i"), ("tokens", "acc_1"))
    by = {(kind, row["label"], row["method"]): row for kind in found for row in found[kind]["rows"]}
    labels = list(dict.fromkeys(row["label"] for row in found["masks"]["rows"] if row["label"] != "all"))
    body = [
        [label, str(by["masks", label, HARD[0]]["pictures"])]
        + [
            " / ".join(cell(by.get((kind, label, method), {}), metric, False) or "-" for method in HARD)
            for kind, metric in shown
        ]
        for label in labels
    ]
    return f"Each cell: `{HARD[0]}` / `{HARD[1]}`.\n\n" + table(["label", "n", *(HEADS[m] for _, m in shown)], body)


def facts(found: Documents) -> str:
    """Commands, machine, seeds, and what went wrong."""
    parts = []
    for name, document in found.items():
        lines = [f"- {key}: {text}" for key, text in document["facts"].items() if key != "command"]
        parts += [f"    {shlex.join(COMMANDS[name])} -o OUT/{name}", ""]
        parts += [*lines, *(f"- {note}" for note in document["notes"]), ""]
    return "\n".join(parts[:-1])


MAKERS: dict[str, Callable[[Documents], str]] = {
    "tokens": tokens, "masks": masks, "difficulty": difficulty, "facts": facts,
}  # fmt: skip


def rewritten(text: str, found: Documents) -> str:
    """The page with its tables made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{MAKERS[block[2]](found)}\n\n{block[3]}", text)


def main() -> None:
    """Parse the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--only-tables", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.only_tables:
        run(options.out)
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), read(options.out)), encoding="utf-8")


if __name__ == "__main__":
    main()
