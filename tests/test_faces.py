"""What plugins may import: listed, kept, and all that our own plugins, examples, templates and docs use."""

from __future__ import annotations

import ast
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from test_docs import blocks

import uce
import uce.core
from uce.core import Clusters
from uce.core.flow.serial import parse
from uce.core.registry.manager import load_manager
from uce.faces import PUBLIC, Retired, RetiredNameWarning, face, public_names
from uce.version import PLUGIN_API, __version__

ROOT = Path(uce.__file__).parents[1]
KNOWN = ROOT / "tests" / "fixtures" / "public_names.txt"
OWN = ("uce.plugins", "uce.contrib")


def retired_of(package: str) -> dict[str, Retired]:
    return getattr(import_module(package), "_RETIRED", {})


def foreign(source: str, own: str = "") -> Iterator[str]:
    """Everything of uce that `source` uses and no face lists; modules of package `own` are its own."""
    names = {package: set(found) for package, found in public_names().items()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "uce":
            module = str(node.module)
            if not (own and module.startswith(own)):
                yield from (
                    f"{module}.{alias.name}"
                    for alias in node.names
                    if alias.name not in names.get(module, ()) and f"{module}.{alias.name}" not in PUBLIC
                )
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("uce.") and a.name not in PUBLIC)
        elif isinstance(node, ast.Attribute):
            found = dotted(node)
            package, _, name = found.rpartition(".")
            if package in names and name not in names[package] and found not in PUBLIC:
                yield found


def dotted(node: ast.expr) -> str:
    """ "uce.core.train" of the expression; "" where it does not begin with a name."""
    if isinstance(node, ast.Name):
        return node.id
    before = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before and isinstance(node, ast.Attribute) else ""


def sources() -> Iterator[tuple[str, str, str]]:
    """(where, Python, the package that it belongs to) of all that lives by the rule."""
    for package in OWN:
        for path in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), package
    for path in sorted((ROOT / "examples").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), ""
    for path in sorted((ROOT / "examples").rglob("*.ipynb")):
        cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        lines = "".join("".join(c["source"]) + "\n" for c in cells).splitlines()
        yield path.name, "\n".join("pass" if line.startswith(("!", "%")) else line for line in lines), ""
    for path in sorted((ROOT / "uce" / "scaffold" / "templates").rglob("*.py.jinja")):
        text = path.read_text(encoding="utf-8").replace("{{ ", "").replace(" }}", "")
        yield f"templates/{path.parent.name}/{path.name}", text, ""
    for number, text in enumerate(blocks((ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"), "python")):
        yield f"docs/plugins.md, block {number}", text, ""


SOURCES = list(sources())


@pytest.mark.parametrize(("source", "own"), [s[1:] for s in SOURCES], ids=[s[0] for s in SOURCES])
def test_plugins_live_by_the_rule_they_teach(source: str, own: str) -> None:
    found = sorted(set(foreign(source, own)))
    assert not found, f"not public: {found}; use what docs/public.md lists, or add it to a face"


def test_the_rule_finds_what_is_private() -> None:
    text = (
        "import uce\nfrom uce.core import train, sinkhorn\nfrom uce.core.training.loop import train\n"
        "import uce.core.work.cache\nimport uce.core.model\nuce.core.model.heat.Heat\nuce.plugins\nuce.hookimpl\n"
        "from uce.plugins.backbones import _sd\nfrom uce.core import model\n"
    )
    assert set(foreign(text, own="uce.contrib")) == {
        "uce.core.sinkhorn", "uce.core.training.loop.train", "uce.core.work.cache", "uce.core.model.heat",
        "uce.plugins", "uce.plugins.backbones._sd",
    }  # fmt: skip


@pytest.mark.parametrize("package", PUBLIC)
def test_a_face_gives_what_it_lists(package: str) -> None:
    module = import_module(package)
    homes = set(module._HOMES)
    assert homes | ({"__version__", "PLUGIN_API"} if package == "uce" else set()) == set(module.__all__)
    assert sorted(module.__all__) == dir(module) or package == "uce"
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_listing_a_face_imports_nothing_heavy(tmp_path: Path) -> None:
    import subprocess

    code = f"import sys, {', '.join(PUBLIC)}; print([m for m in ('torch', 'diffusers', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_public_name_leaves_only_by_way_of_retirement() -> None:
    """tests/fixtures/public_names.txt holds every name that was ever public, but for those whose time is over."""
    now = {f"{package}.{name}" for package, names in public_names().items() for name in names}
    retired = {f"{package}.{name}" for package in PUBLIC for name in retired_of(package)}
    known = set(KNOWN.read_text(encoding="utf-8").split())
    assert known <= now | retired, f"retire, do not remove: {sorted(known - now - retired)} (uce/faces.py says how)"
    assert now <= known, f"add to tests/fixtures/public_names.txt: {sorted(now - known)}"


def test_retired_names_leave_when_their_time_is_over() -> None:
    version = tuple(map(int, __version__.split(".")[:2]))
    for package in PUBLIC:
        for name, item in retired_of(package).items():
            assert version < tuple(map(int, item.until.split("."))), (
                f"{package}.{name}: remove it, and raise PLUGIN_API"
            )


OLD_NAME = '''
import uce
from uce.core import learn_tokens


class Old:
    """Uses a name of before."""

    name = "old"

    @uce.hookimpl
    def uce_optimize(self):
        return learn_tokens()
'''


def test_a_retired_name_works_and_says_who_uses_it_and_what_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, _ = face(
        "uce.core", uce.core._HOMES, {"learn_tokens": Retired("training.loop:train", "uce.core.train", "0.9")}
    )
    monkeypatch.setattr(uce.core, "__getattr__", get)
    (tmp_path / "old_name.py").write_text(OLD_NAME)
    with pytest.warns(RetiredNameWarning) as caught:
        load_manager([str(tmp_path / "old_name.py")])
    assert {str(warning.message) for warning in caught} == {
        "plugin old_name.py uses uce.core.learn_tokens, which goes away in uce 0.9; use uce.core.train instead"
    }
    assert caught[0].filename == str(tmp_path / "old_name.py") and caught[0].lineno == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert uce.core.learn_tokens is uce.core.train


def test_a_retired_field_is_taken_given_and_read() -> None:
    labels = torch.tensor([[0, 1]])
    text = f"plugin {__name__} uses Clusters.words, which goes away in uce 0.2; use Clusters.concept_labels instead"
    with pytest.warns(RetiredNameWarning, match=text):
        old = Clusters(labels, words=["cat", "cup"])
    with pytest.warns(RetiredNameWarning, match=text):
        assert old.words == ["cat", "cup"] == old.concept_labels
    stored = parse({"labels": labels}, {"kind": "Clusters", "merge_threshold": None, "words": ["cat", "cup"]})
    assert stored.concept_labels == ["cat", "cup"]


def test_the_version_of_what_is_public(cli: Callable[..., tuple[int, str, str]]) -> None:
    assert uce.PLUGIN_API == PLUGIN_API == 1
    code, out, _ = cli("plugins", "--json")
    assert code == 0 and json.loads(out)["plugin_api"] == 1
