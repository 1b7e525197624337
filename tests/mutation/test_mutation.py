"""The mutation command: what it changes, which tests it calls near, and that it leaves the tree as it found it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutation.known import KNOWN
from mutation.mistakes import mistakes, sound
from mutation.near import near
from mutation.run import Tree, chosen

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""Words."""
from math import log
TABLE = {"a": 1}


def rate(values: list[int], share: float = 0.5) -> int:
    """Words, too: 1 + 1."""
    if not values:
        raise ValueError("1 > 2")
    total = 0
    for value in values:
        total += min(value, 9)
    log.debug("seen", 3)
    return total - 1 if share > 0.5 and total else sorted(values, reverse=True)[0]
'''


def test_mistakes_are_small_realistic_and_programs() -> None:
    shown = {mistake.shown(SOURCE) for mistake in mistakes(SOURCE) if sound(mistake, SOURCE)}
    assert shown == {
        "compared: 'share > 0.5' -> 'share >= 0.5'",
        "sign: 'not values' -> '(values)'",
        "dropped: 'if not values: raise ValueError(\"1 > 2\")' -> 'pass'",
        "constant: '0' -> '1'",
        "constant: '9' -> '10'",
        "set: 'total += min(value, 9)' -> 'total = min(value, 9)'",
        "dropped: 'total += min(value, 9)' -> 'pass'",
        "called: 'min' -> 'max'",
        "computed: 'total - 1' -> '(total + 1)'",
        "constant: '1' -> '2'",
        "chosen: 'total - 1 if share > 0.5 and total else sorted(values, reverse=True)[0]' -> '(total - 1)'",
        "joined: 'share > 0.5 and total' -> '((share > 0.5) or (total))'",
        "joined: 'share > 0.5 and total' -> '(share > 0.5)'",
        "constant: '0.5' -> '1.0'",
        "argument left out: ', reverse=True' -> ''",
        "constant: 'True' -> 'False'",
    }
    for mistake in mistakes(SOURCE):
        changed = mistake.made(SOURCE)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE)) and changed.count('"""Words') == 2


def test_positions_count_letters_though_python_counts_bytes() -> None:
    text = 'def f(x):\n    return "é" * x, "ü", x < 3\n'
    assert {m.made(text).splitlines()[1] for m in mistakes(text) if m.kind == "compared"} == {
        '    return "é" * x, "ü", x <= 3'
    }


@pytest.mark.parametrize(
    ("module", "first", "among"),
    [
        ("core/training/objective.py", "core/training/test_objective.py", "core/training/test_default_training.py"),
        ("plugins/backbones/_sd/vocabulary.py", "plugins/backbones/", "plugins/backbones/"),
        ("ui/guard.py", "ui/test_guard.py", "ui/test_launch.py"),
        ("batching/run.py", "batching/", "batching/test_batch.py"),
    ],
)
def test_near_tests_are_those_that_somebody_runs_who_changes_the_module(module: str, first: str, among: str) -> None:
    found = [str(path.relative_to("tests")) for path in near(ROOT, Path("uce") / module)]
    assert found[0].startswith(first) and any(path.startswith(among) for path in found)
    assert len(set(found)) == len(found) and not any("browser" in path for path in found)


def test_the_draw_is_seeded() -> None:
    picked = chosen(["evaluation"], seed=3, count=4)
    assert picked == chosen(["evaluation"], seed=3, count=4) != chosen(["evaluation"], seed=4, count=4)
    assert len(picked) == 4 and all(module.parts[:2] == ("uce", "evaluation") for module, _ in picked)


def test_the_file_is_as_before_after_a_mistake_and_what_was_compiled_is_gone(tmp_path: Path) -> None:
    module = Path("uce/a.py")
    (tmp_path / "uce" / "__pycache__").mkdir(parents=True)
    stale = tmp_path / "uce" / "__pycache__" / "a.cpython-311.pyc"
    (tmp_path / module).write_text("plain = 1\n")
    Tree._write(tmp_path / module, "plain = 2\n")
    assert (tmp_path / module).read_text() == "plain = 2\n"
    stale.write_bytes(b"")
    Tree._write(tmp_path / module, "plain = 1\n")
    assert not stale.exists()


def test_known_mistakes_are_of_this_package() -> None:
    assert all((ROOT / mistake.module).is_file() and mistake.before != mistake.after for mistake in KNOWN)
