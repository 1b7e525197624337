"""The docs say what the code does: tables, hooks, plugins, commands, examples and links."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from uce.core.config.resolving import resolve_config
from uce.core.hookspecs import (
    BackboneSpecs,
    EncoderSpecs,
    ExecutorSpecs,
    ExporterSpecs,
    ObserverSpecs,
    StageSpecs,
)
from uce.core.registry.manager import load_manager

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# file: (\S+)\n")
STAGE_PAGES = {
    "extractor": "extraction",
    "foreground": "foreground",
    "clusterer": "clustering",
    "refiner": "refinement",
    "initializer": "initialization",
    "optimizer": "optimization",
    "backbone": "models",
    "executor": "executors",
    "exporter": "exporters",
    "encoder": "encoders",
}
"""The page of docs/stages/ that describes the plugins of a stage."""


def script(name: str) -> ModuleType:
    """A file of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """docs/make_tables.py as a module."""
    return script("make_tables")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(text) if name == language]


def section(text: str, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {heading!r}"
    return found[1]


def test_tables_follow_from_the_code(tables: ModuleType) -> None:
    stale = [path.name for path in tables.stale_pages()]
    assert not stale, f"stale: {', '.join(stale)}; run python docs/make_tables.py"


def test_every_plugin_has_a_section_with_its_settings(tables: ModuleType) -> None:
    for info in tables.manager().plugins:
        for stage in info.stages:
            body = section(page(f"stages/{STAGE_PAGES[stage]}.md"), f"## {stage}: {info.name}")
            assert f"<!-- table: summary {stage} {info.name} -->" in body
            assert stage == "backbone" or f"<!-- table: settings {stage} {info.name} -->" in body


def untested(classes: list[type]) -> list[str]:
    """Plugin classes without tests in the mirror of their package: a file named after the module, or one that names
    the class. (test_testing.py runs the contract kit on all of them.)"""
    missing = []
    for plugin in classes:
        *folders, module = plugin.__module__.split(".")[1:]
        mirror = (ROOT / "tests").joinpath(*folders[: 1 if folders[0] == "contrib" else 2])
        files = {path.stem: path.read_text(encoding="utf-8") for path in mirror.rglob("test_*.py")}
        if f"test_{module}" not in files and not any(plugin.__name__ in text for text in files.values()):
            missing.append(f"{plugin.__name__} of {plugin.__module__}")
    return missing


def test_every_plugin_has_tests(tables: ModuleType) -> None:
    missing = untested([type(info.obj) for info in tables.manager().plugins])
    assert not missing, f"no test in the mirror of its package names {', '.join(missing)}; see CONTRIBUTING.md"


def test_a_plugin_without_tests_or_docs_is_found(tables: ModuleType) -> None:
    forgotten = type("ForgottenClusterer", (), {"__module__": "uce.plugins.clusterers.forgotten"})
    elsewhere = type("ForgottenMethod", (), {"__module__": "uce.contrib.forgotten"})
    assert untested([forgotten, elsewhere]) == [
        "ForgottenClusterer of uce.plugins.clusterers.forgotten",
        "ForgottenMethod of uce.contrib.forgotten",
    ]
    with pytest.raises(AssertionError, match="no section '## clusterer: forgotten'"):
        section(page("stages/clustering.md"), "## clusterer: forgotten")


def test_every_hook_is_described() -> None:
    text = page("plugins.md")
    kinds = (StageSpecs, BackboneSpecs, EncoderSpecs, ExporterSpecs, ExecutorSpecs, ObserverSpecs)
    hooks = [name for specs in kinds for name in vars(specs) if name[:4] == "uce_"]
    assert len(hooks) >= 11
    missing = [name for name in hooks if f"`{name}`" not in text]
    assert not missing, f"docs/plugins.md does not mention {missing}"


def test_every_argument_of_a_hook_is_described() -> None:
    text = section(page("plugins.md"), "## All hooks")
    arguments = {
        a for spec in vars(StageSpecs).values() if inspect.isfunction(spec) for a in inspect.signature(spec).parameters
    }
    for name in arguments - {"self"}:
        assert f"\n| `{name}` |" in text, f"docs/plugins.md does not describe the argument {name}"


def test_every_command_and_option_is_described(tables: ModuleType) -> None:
    text = page("cli.md")
    for words, command in tables.commands().items():
        body = section(text, f"## uce {words}") if words else text
        assert f"<!-- table: command{' ' if words else ''}{words} -->" in body
        for parameter in command.params:
            names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
            for name in [*names, "--help"]:
                assert f"`{name}`" in body, f"docs/cli.md does not mention {name} of uce {words}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_shown_exist(tables: ModuleType, path: Path) -> None:
    commands = tables.commands()
    for line in "".join(blocks(path.read_text(encoding="utf-8"), "sh")).splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:1] != ["uce"]:
                continue
            name = " ".join(words[1:3]) if " ".join(words[1:3]) in commands else words[1] if len(words) > 1 else ""
            name = name if name in commands else ""
            assert name or words[1].startswith("--"), f"{path.name}: no such command: {part}"
            known = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
            unknown = [word for word in words[1:] if re.match(r"--?[a-z]", word) and word not in known]
            assert not unknown, f"{path.name}: {part}: unknown {unknown}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_settings_shown_exist(path: Path) -> None:
    """Every `--set` that stands alone in a code span or block names a key of some plugin."""
    manager = load_manager()
    known: set[str] = set()
    for info in manager.plugins:
        for stage in info.stages:
            prefix = f"refiner.{info.name}" if stage == "refiner" else stage
            known |= {f"{prefix}.{key}" for key in info.settings_class.model_fields}
    from uce.core.flow.run_settings import ModelSettings, RunSettings

    known |= {f"model.{key}" for key in ModelSettings.model_fields} | {f"run.{key}" for key in RunSettings.model_fields}
    from uce.evaluation.settings import EvaluationSettings

    known |= {f"evaluate.{key}" for key in EvaluationSettings.model_fields}
    encoders = manager.available("encoder").values()
    known |= {f"encoder.{info.name}.{key}" for info in encoders for key in info.settings_class.model_fields}
    known |= {"clusterer.radius", "stage.key"}  # the example of docs/plugins.md, and the placeholder
    for key in re.findall(r"--set (?:KEY=VALUE|([a-z0-9_.-]+)=)", path.read_text(encoding="utf-8")):
        assert not key or key in known, f"{path.name}: no setting {key}"


def test_configurations_shown_resolve() -> None:
    shown = blocks(page("configuration.md"), "yaml")
    assert len(shown) >= 2
    for text in shown:
        resolve_config(load_manager(), document=yaml.safe_load(text))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = path if not name else path.parent / name
        assert file.exists(), f"{path.name}: dead link {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{path.name}: no heading for {target}"


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture
def no_leader() -> Iterator[None]:
    """The example's module is imported anew in every test."""
    sys.modules.pop("leader", None)
    yield
    sys.modules.pop("leader", None)


def write_files(folder: Path) -> None:
    """Every block of docs/plugins.md that begins with `# file:`."""
    for body in (*blocks(page("plugins.md"), "python"), *blocks(page("plugins.md"), "toml")):
        if named := FILE.match(body):
            (folder / named[1]).write_text(body[named.end() :], encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_shown_is_python(path: Path) -> None:
    for body in blocks(path.read_text(encoding="utf-8"), "python"):
        compile(body, path.name, "exec")


@pytest.mark.usefixtures("no_leader")
def test_python_of_the_plugin_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    for number, body in enumerate(blocks(page("plugins.md"), "python")):
        file = FILE.match(body)
        space = {} if file else names
        exec(compile(body, file[1] if file else f"docs/plugins.md, block {number}", "exec"), space)
        for name, function in list(space.items()):
            if file and name.startswith("test_") and not inspect.signature(function).parameters:
                function()  # those that ask for fixtures run with the page's commands


def test_messages_of_the_troubleshooting_page_are_real() -> None:
    """What stands in code in a first column is part of a message in the code, as it is written there."""
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "uce").rglob("*.py")))
    kinds = re.findall(r"unknown_name\([\"']([a-z ]+)[\"']", source)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # texts that go over several lines
    source = re.sub(r"\{[^{}]*\}", "", source) + "".join(f"unknown {kind}\n" for kind in kinds)
    rows = re.findall(r"^\| (.+?) \|", page("troubleshooting.md"), re.MULTILINE)
    quoted = [text for row in rows if not row.startswith("---") for text in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 25
    missing = [text for text in quoted if text not in source]
    assert not missing, f"docs/troubleshooting.md quotes messages that are not in the code: {missing}"
