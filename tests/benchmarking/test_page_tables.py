"""benchmarks/tables.py writes what benchmark.json says, between the page's markers and nowhere else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from uce.benchmarking.methods import TABLE, parse_methods

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(method: str, label: str = "all", **metrics: float) -> dict[str, Any]:
    spans = {f"{name}_low": value - 0.1 for name, value in metrics.items()}
    spans |= {f"{name}_high": value + 0.1 for name, value in metrics.items()}
    return {"method": method, "label": label, "pictures": 3, "failed": 1, "concepts": 7, **metrics, **spans}


def document(*rows: dict[str, Any], notes: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"rows": rows, "facts": {"model": "mini", "command": "uce benchmark -o /somewhere"}, "notes": notes}


FOUND = {
    "masks": document(
        row("default", iou=0.8),
        row("paper", iou=0.5),
        row("default", "small", iou=0.61),
        row("paper", "small", iou=0.31),
        row("default", "touching", iou=0.7),
        row("paper", "touching", iou=0.4),
        notes=("paper found nothing in 1 pictures (small-0); masks count as missed",),
    ),
    "tokens": document(
        row("default", sim_i=0.7, seconds=12.4), row("lower-bound", sim_i=0.2), row("default", "small", sim_i=0.45)
    ),
}


def test_the_tables_hold_the_numbers(tables: ModuleType) -> None:
    tokens, masks = tables.tokens(FOUND), tables.masks(FOUND)
    assert "| `default` | 7 | 0.700 [0.60, 0.80] |  |  |  | 12 |" in tokens and "| `lower-bound` | 7 | 0.200" in tokens
    assert "| `paper` | 1 | 0.500 [0.40, 0.60] |" in masks
    hard = tables.difficulty(FOUND)
    assert "| small | 3 | 0.610 / 0.310 | - / - | - / - | 0.450 / - | - / - |" in hard
    assert "| touching | 3 | 0.700 / 0.400 | - / - | - / - | - / - | - / - |" in hard  # no tokens learned there
    facts = tables.facts(FOUND)
    assert "- model: mini" in facts and "found nothing" in facts and "/somewhere" not in facts


def test_only_what_lies_between_markers_changes(tables: ModuleType) -> None:
    page = "before\n<!-- benchmark: masks -->\nold\n<!-- end benchmark -->\nafter\n"
    once = tables.rewritten(page, FOUND)
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "old" not in once
    assert tables.rewritten(once, FOUND) == once


def test_the_page_has_every_table_once_and_the_budget_is_of_known_methods(tables: ModuleType) -> None:
    found = [name for _, name, _ in tables.BLOCK.findall(tables.PAGE.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(tables.MAKERS)
    methods = parse_methods(["all"], ROOT / "benchmarks" / "budget.yaml")
    assert [method.name for method in methods] == list(TABLE)
