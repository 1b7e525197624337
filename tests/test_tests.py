"""The tests themselves: they mirror the package, and an error is known by its text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import uce

TESTS = Path(__file__).parent
HOME = Path(uce.__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))
WITHOUT_TEXT = {"KeyboardInterrupt", "SystemExit", "ZeroDivisionError", "StopIteration"}
"""Raised by tests without a message, or by Python itself: the type says all there is to say."""


def looked_at(tree: ast.AST) -> set[ast.Call]:
    """The calls of `pytest.raises` whose error is kept under a name, to be looked at."""
    items = [item for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items]
    return {i.context_expr for i in items if isinstance(i.context_expr, ast.Call) and i.optional_vars is not None}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_an_expected_error_is_known_by_its_text(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = looked_at(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "raises"):
            continue
        known = node in kept or any(keyword.arg == "match" for keyword in node.keywords)
        assert known or ast.unparse(node.args[0]) in WITHOUT_TEXT, f"line {node.lineno}: match the error's text"


def mirrors() -> list[Path]:
    files = [path for path in (HOME / "core").rglob("*.py") if path.stem != "__init__"]
    return sorted(path.relative_to(HOME) for path in files)


@pytest.mark.parametrize("path", mirrors(), ids=str)
def test_every_file_of_core_has_a_test_file_of_its_name(path: Path) -> None:
    assert (TESTS / path.parent / f"test_{path.name}").is_file()


@pytest.mark.parametrize("time", [1, 2])
def test_every_test_begins_with_the_same_random_numbers(time: int) -> None:
    import random

    import numpy as np
    import torch

    drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    assert drawn == pytest.approx([0.844421851, 0.548813503, 0.496256589], abs=1e-8)


DRAWS = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "normal", "random", "permutation"}


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_drawn_before_a_test_begins(path: Path) -> None:
    """While files are collected nothing is seeded yet; and a generator has its seed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in (inner for statement in outside for inner in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DRAWS:
            owner = ast.unparse(node.func.value)
            seeded = any(keyword.arg == "generator" for keyword in node.keywords)
            assert seeded or owner not in ("torch", "np.random", "random"), f"line {node.lineno}: give it a generator"
