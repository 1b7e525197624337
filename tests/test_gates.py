"""CI's gate: the default's quality and work on six fixed scenes are what the repository says."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def gates() -> ModuleType:
    """benchmarks/gates.py as a module."""
    spec = importlib.util.spec_from_file_location("gates", ROOT / "benchmarks" / "gates.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["gates"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quality_and_work_are_as_committed(gates: ModuleType) -> None:
    moved = gates.moved(gates.measure(), json.loads(gates.RESULTS.read_text(encoding="utf-8")))
    assert not moved, "; ".join([*moved, "where that is meant: python benchmarks/gates.py --write, in the same commit"])


def test_what_moves_is_named(gates: ModuleType) -> None:
    was = json.loads(gates.RESULTS.read_text(encoding="utf-8"))
    assert gates.moved(was, was) == []
    now = copy.deepcopy(was)
    now["scenes"]["single-0"]["iou"] -= 0.1
    now["scenes"]["pair-0"]["work"]["encodes"] += 1
    now["scenes"]["three-0"]["found"] += 2
    now["learned"]["loss"] *= 1.2
    now["learned"]["updates"] += 1
    lines = gates.moved(now, was)
    starts = ("single-0: IoU", "pair-0: work", "things found in all", "loss of learning", "updates of learning")
    assert len(lines) == len(starts) and all(a.startswith(b) for a, b in zip(lines, starts, strict=True))
