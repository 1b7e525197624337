"""What counts as a plugin's source, so that results of an older one are not taken for today's."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from uce.core.registry.manager import load_manager
from uce.core.work.source_code import source_digest, source_files

PLUGIN = """
import uce
{imports}

class Mine:
    name = "mine"

    @uce.hookimpl
    def uce_cluster(self, attention):
        from {late} import later
        return later(attention)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """strange/: a plugin with helpers near and far, and what it does not use."""
    folder = tmp_path / "strange_tree"
    (folder / "parts").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "plugin.py": PLUGIN.format(imports="from . import near", late="strange_tree.parts.late"),
        "near.py": "from .parts import deep\nfrom strange_tree import near",
        "parts/__init__.py": "import strange_tree.near",
        "parts/deep.py": "VALUE = 1",
        "parts/late.py": "def later(attention): ...",
        "unused.py": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (tmp_path / "outside.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "strange_tree"]:
        del sys.modules[name]


def plugin_of(module: str) -> Any:
    return importlib.import_module(module).Mine()


def test_helpers_count_wherever_they_are_imported(package: Path) -> None:
    plugin = plugin_of("strange_tree.plugin")
    names = [path.relative_to(package).as_posix() for path in source_files(plugin)]
    assert names == ["plugin.py", "__init__.py", "near.py", "parts/__init__.py", "parts/deep.py", "parts/late.py"]


@pytest.mark.parametrize(
    ("name", "counts"), [("plugin.py", True), ("parts/deep.py", True), ("parts/late.py", True), ("unused.py", False)]
)
def test_a_changed_helper_changes_the_digest(package: Path, name: str, counts: bool) -> None:
    plugin = plugin_of("strange_tree.plugin")
    before = source_digest(plugin)
    assert source_digest(plugin) == before
    with (package / name).open("a") as file:
        file.write("\n# another line")
    assert (source_digest(plugin) != before) is counts


def test_a_file_counts_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.format(imports="", late="helper"))
    (tmp_path / "helper.py").write_text("import more.inner")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "inner.py").write_text("def broken(:")
    plugin = load_manager([str(tmp_path / "mine.py")]).get("clusterer", "mine").obj
    files = [path.relative_to(tmp_path.resolve()).as_posix() for path in source_files(plugin)]
    assert files == ["mine.py", "helper.py", "more/inner.py"]
    before = source_digest(plugin)
    (tmp_path / "more" / "inner.py").write_text("VALUE = 2")
    assert source_digest(plugin) != before


def test_builtins_count_with_their_room_and_not_with_all_of_uce() -> None:
    manager = load_manager()
    files = source_files(manager.get("optimizer", "break-a-scene").obj)
    assert all("contrib" in path.parts for path in files)
    backbone = next(iter(manager.available("backbone").values())).obj
    assert len(source_files(backbone)) > 1 and all("plugins" in path.parts for path in source_files(backbone))


def test_without_a_source_the_type_stands_for_it() -> None:
    assert source_files(3) == [] and source_digest(3) == source_digest(4) != source_digest("a")
