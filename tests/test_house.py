"""The house: which room may know which. Every import counts, those in functions and for annotations too."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import uce
from uce.faces import PUBLIC

HOME = Path(uce.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("version", "waiting", "faces", "core.errors"),
    ("core.logs", "core.files"),
    ("core.flow", "scenes"),
    ("core.model", "core.localisation", "core.runs"),
    ("core.training", "core.hookspecs"),
    ("core.registry",),
    ("core.config",),
    ("core.work",),
    ("plugins", "contrib", "truth", "tokens"),
    ("testing", "scaffold"),
    ("reporting",),
    ("api",),
    ("evaluation", "matching"),
    ("many",),
    ("ablation", "batching", "benchmarking"),
    ("comparing",),
    ("terminal", "ui"),
    ("commands",),
    ("cli",),
)
"""Rooms from the ground up. A room may know the floors below its own and itself; rooms of one floor do not know each
other. `uce` and `uce.core` are faces: what is imported from them counts where it lives."""

RANKS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(HOME.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(HOME.rglob("*.py")) if "templates" not in path.parts}
FACES = {"uce": uce._HOMES} | {
    package: {name: f"{package}.{home.partition(':')[0]}" for name, home in import_module(package)._HOMES.items()}
    for package in PUBLIC
    if package != "uce"
}


def room_of(module: str) -> str:
    parts = module.split(".")[1:]
    return ".".join(parts[:2] if parts[0] == "core" else parts[:1])


def homes(module: str, name: str) -> str | None:
    """The module that `from module import name` reaches; None outside the package or where a face has nothing."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    if module in FACES:
        return FACES[module].get(name)
    return module if module in MODULES else None


@cache
def arrows(module: str) -> frozenset[str]:
    """The modules that a module imports, wherever in it that is written."""
    found: set[str | None] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found |= {homes(node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES and alias.name not in FACES}
    return frozenset(name for name in found if name and name not in {module, *FACES})


INSIDE = [module for module in MODULES if module not in FACES]


def test_every_file_lies_in_a_room() -> None:
    assert {room_of(module) for module in INSIDE} == set(RANKS)
    files = {path.stem for path in (HOME / "core").glob("*.py")}
    assert files == {"__init__", "hookspecs", "errors", "logs"}


@pytest.mark.parametrize("module", INSIDE)
def test_no_arrow_runs_back_up(module: str) -> None:
    room = room_of(module)
    wrong = [to for to in arrows(module) if room_of(to) != room and RANKS[room_of(to)] >= RANKS[room]]
    assert not wrong, f"{module} ({room}, floor {RANKS[room]}) must not know {sorted(wrong)}"


def circles() -> list[list[str]]:
    """Sets of modules that import each other in a loop (Tarjan, SIAM Journal on Computing 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for to in sorted(arrows(module)):
            if to not in index:
                visit(to)
                low[module] = min(low[module], low[to])
            elif to in stack:
                low[module] = min(low[module], index[to])
        if low[module] == index[module]:
            group = [stack.pop()]
            while group[-1] != module:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for module in INSIDE:
        if module not in index:
            visit(module)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles() == []


@pytest.mark.parametrize("room", sorted(room for room in RANKS if (HOME / room.replace(".", "/")).is_dir()))
def test_each_room_says_what_lives_there(room: str) -> None:
    text = (HOME / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    lines = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert len(lines) >= 3, f"{room}: say what lives there, what may not, and which file to open first"
