"""Fixtures for plugin authors; pytest loads them wherever uce-concepts is installed.

    from uce.testing import check_plugin

    def test_contract(uce_plugin):      # once per plugin that this project's pyproject.toml declares
        check_plugin(uce_plugin)

Nothing heavy is imported before a fixture is used.
"""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from uce.core.flow.data import AttentionMaps, Concepts
    from uce.core.flow.picture import Picture
    from uce.core.registry.manager import Manager
    from uce.testing.backbone import TinyBackbone


@pytest.fixture
def tiny_attention() -> AttentionMaps:
    """Attention maps of two things on an 8 x 8 grid; `uce.testing.tiny_attention` makes others."""
    from uce.testing.doubles import tiny_attention

    return tiny_attention()


@pytest.fixture
def tiny_concepts() -> Concepts:
    """The background and two things, as the first refiner gets them."""
    from uce.testing.doubles import tiny_concepts

    return tiny_concepts()


@pytest.fixture
def tiny_picture() -> Picture:
    """A picture of 48 x 40 pixels with a red and a green rectangle."""
    from uce.testing.doubles import tiny_picture

    return tiny_picture()


@pytest.fixture
def tiny_backbone() -> TinyBackbone:
    """A model of a few hundred numbers with one text encoder."""
    from uce.testing.doubles import tiny_backbone

    return tiny_backbone()


@pytest.fixture
def uce_manager() -> Manager:
    """A fresh plugin manager: built-ins, and whatever is installed."""
    from uce.core.registry.manager import load_manager

    return load_manager()


@pytest.fixture
def uce_plugin(request: pytest.FixtureRequest) -> Any:
    """The plugin object behind one of the project's entry points; a test that asks for it runs once for each."""
    module, _, attribute = request.param.partition(":")
    found: Any = import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that ask for `uce_plugin` once per entry point in `[project.entry-points.uce]`."""
    if "uce_plugin" not in metafunc.fixturenames:
        return
    path = _project_file(metafunc.definition.path)
    entries = {} if path is None else _entry_points(path)
    if not entries:
        where = "in the folders above the test" if path is None else f"in {path}"
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid} asks for uce_plugin, but there is no [project.entry-points.uce] {where}; "
            "declare your plugins there, or pass them to uce.testing.check_plugin yourself"
        )
    metafunc.parametrize("uce_plugin", entries.values(), ids=entries.keys(), indirect=True)


def _project_file(test: Path) -> Path | None:
    """The nearest pyproject.toml above a test."""
    return next((f / "pyproject.toml" for f in test.parents if (f / "pyproject.toml").is_file()), None)


def _entry_points(path: Path) -> dict[str, str]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    found: dict[str, str] = document.get("project", {}).get("entry-points", {}).get("uce", {})
    return found
