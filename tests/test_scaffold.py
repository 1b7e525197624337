"""`uce plugins new`: packages that work as they stand, and everything that it refuses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import strangers
from strangers import Site

import uce
from uce import scaffold
from uce.core.registry.manager import load_manager
from uce.scaffold import KINDS, new_package

Cli = Callable[..., tuple[int, str, str]]
ROOT = Path(uce.__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = Site(tmp_path / "site")
    yield found
    found.refresh(set())


def refused(cli: Cli, *arguments: Any) -> str:
    code, out, err = cli("plugins", "new", *arguments)
    assert code == 2 and not out and err.count("\n") == 1, (out, err)
    return err


def test_packages_of_all_kinds_pass_their_own_tests(folder: Path, site: Site) -> None:
    """One pytest for all, each found by its entry point as if it were installed."""
    for stage in KINDS:
        package = new_package(f"my-{stage}", stage)
        project = tomllib.loads((package.folder / "pyproject.toml").read_text())["project"]
        assert project["entry-points"]["uce"] == {f"my-{stage}": f"my_{stage}:My{stage.capitalize() * 2}"}
        assert project["dependencies"] == ["uce-concepts>=0.1,<0.2"]
        source = (package.folder / f"my_{stage}.py").read_text()
        site.install(f"my-{stage}", "0.1.0", project["entry-points"]["uce"], **{f"my_{stage}": source})
    manager = load_manager()
    assert not manager.failures
    for stage in KINDS:
        info = next(info for info in manager.plugins if info.name == f"my-{stage}")
        assert stage in info.stages or (stage == "observer" and info.observes)
        assert info.distribution == f"my-{stage}" and info.summary.endswith("an example to start from.")
        assert all(field.description for field in info.settings_class.model_fields.values())
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site.folder), str(ROOT)]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-v",
        *sorted(p.name for p in folder.iterdir()),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("test_contract PASSED") == len(KINDS) == 11


def test_what_is_written_keeps_our_style(folder: Path) -> None:
    for stage in KINDS:
        new_package(f"my-{stage}", stage)
    options = ["--no-cache", "--isolated", "--line-length", "120", "."]
    selected = ["--select", "E,F,UP,B,SIM,C4,RET"]
    for command in (["check", *selected], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    texts = [p.read_text() for p in folder.rglob("*") if p.is_file()]
    assert len(texts) == 5 * len(KINDS) and not any("{{" in text or "{%" in text for text in texts)


def test_what_it_prints(cli: Cli, folder: Path) -> None:
    code, out, _ = cli("plugins", "new", "my-localizer", "--stage", "clusterer")
    assert code == 0 and out.splitlines() == [
        "wrote my-localizer: pyproject.toml, README.md, my_localizer.py, tests/test_my_localizer.py",
        "next: pip install -e my-localizer",
        "      uce run PICTURE -o out --clusterer my-localizer",
        "      python -m pytest my-localizer",
    ]
    code, out, _ = cli("plugins", "new", "my-drop", "--stage", "refiner", "-o", "new folder/deep", "--json")
    document = json.loads(out)
    assert code == 0 and document["module"] == "my_drop" and "README.md" in document["files"]
    assert document["next"][0] == "pip install -e 'new folder/deep/my-drop'"
    assert document["next"][1] == "uce run PICTURE -o out --refiner +my-drop"
    assert (folder / "new folder" / "deep" / "my-drop" / "my_drop.py").is_file()


def test_folder_is_readable_by_others(folder: Path) -> None:
    (folder / "plain").mkdir()
    made = new_package("my-localizer", "clusterer").folder
    assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE((folder / "plain").stat().st_mode)


def test_what_is_there_stays(cli: Cli, folder: Path) -> None:
    (folder / "taken").mkdir()
    (folder / "file").write_text("mine")
    (folder / "dangling").symlink_to(folder / "nowhere")
    for name in ("taken", "file", "dangling"):
        line = refused(cli, name, "--stage", "refiner")
        assert f"{name} is there already; choose another name, or another parent folder with --out" in line
    assert (folder / "file").read_text() == "mine" and not list((folder / "taken").iterdir())
    assert "cannot write file/other: " in refused(cli, "other", "--stage", "refiner", "--out", "file")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("My_Localizer", "my-localizer"),
        ("my--localizer", "my-localizer"),
        ("../evil", "evil"),
        ("1-two", "two"),
        ("mine\n", "mine"),
        ("café", "caf"),
        ("x" * 61, "x" * 60),
        ("", None),
        ("..", None),
        ("日本", None),
    ],
)
def test_bad_names(cli: Cli, folder: Path, name: str, near: str | None) -> None:
    line = refused(cli, name, "--stage", "refiner")
    assert "is not allowed; use small letters, digits and single dashes, a letter first" in line
    assert (f"Did you mean {near!r}?" in line) if near else ("Did you mean" not in line)
    assert not list(folder.iterdir())


def test_unknown_and_missing_stage(cli: Cli, folder: Path) -> None:
    line = refused(cli, "mine", "--stage", "clustrer")
    assert "unknown stage 'clustrer'; available: backbone, clusterer, encoder, executor, exporter, extractor, " in line
    assert "Did you mean 'clusterer'?" in line
    taken = refused(cli, "stable-diffusion", "--stage", "backbone", "--replace")
    assert (
        "the backbone 'stable-diffusion' is built in; choose another name, since all backbones are asked in turn"
        in taken
    )
    assert "Missing option '--stage'" in refused(cli, "mine")


def test_a_builtins_name_needs_replace(cli: Cli, folder: Path) -> None:
    line = refused(cli, "finch", "--stage", "clusterer")
    assert "the clusterer 'finch' is built in, and the new package would replace it wherever it is installed" in line
    assert "--replace" in line and not list(folder.iterdir())
    assert cli("plugins", "new", "finch", "--stage", "clusterer", "--replace")[0] == 0
    project = tomllib.loads((folder / "finch" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "uce-finch"  # not the name of somebody's package on the index
    assert project["entry-points"]["uce"] == {"finch": "uce_finch:FinchClusterer"}
    assert "It replaces the built-in clusterer `finch`" in (folder / "finch" / "README.md").read_text()


def test_a_builtins_name_in_another_stage_is_free(folder: Path) -> None:
    assert "replaces" not in (new_package("finch", "refiner").folder / "README.md").read_text()


@pytest.mark.parametrize("name", ["json", "lambda", "torch", "uce"])
def test_modules_that_exist_get_a_prefix(folder: Path, name: str) -> None:
    package = new_package(name, "refiner")
    assert (package.folder.name, package.distribution, package.module) == (name, f"uce-{name}", f"uce_{name}")


def test_the_name_of_an_installed_plugin(cli: Cli, folder: Path, site: Site) -> None:
    site.install("strange-halves", "1.2", {"halves": "strange_halves:Halves"}, strange_halves=strangers.CLUSTERER)
    for flags in ([], ["--replace"]):
        line = refused(cli, "halves", "--stage", "clusterer", *flags)
        assert "the clusterer 'halves' is brought by the installed strange-halves 1.2" in line
        assert "pip uninstall strange-halves" in line
    new_package("halves", "refiner")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_stays(folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    written: list[Path] = []

    def fail_at_the_third(self: Path, text: str, **options: Any) -> int:
        written.append(self)
        if len(written) == 3:
            raise error
        return self.write_bytes(text.encode())

    monkeypatch.setattr(Path, "write_text", fail_at_the_third)
    with pytest.raises((uce.UceError, KeyboardInterrupt)) as caught:
        new_package("my-localizer", "clusterer")
    if isinstance(error, OSError):
        assert "cannot write my-localizer: No space left on device" in str(caught.value)
    assert len(written) == 3 and not list(folder.iterdir())


def test_somebody_was_faster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scaffold._rendered

    def slow(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        (folder / "my-localizer").mkdir()
        (folder / "my-localizer" / "theirs").write_text("x")
        return made(values)

    monkeypatch.setattr(scaffold, "_rendered", slow)
    with pytest.raises(uce.UceError, match="cannot write my-localizer"):
        new_package("my-localizer", "clusterer")
    assert [p.name for p in folder.iterdir()] == ["my-localizer"]
    assert [p.name for p in (folder / "my-localizer").iterdir()] == ["theirs"]


def test_templates_are_loaded_only_when_needed() -> None:
    code = "import sys, uce.cli, uce.scaffold; sys.exit(any(m in sys.modules for m in ('jinja2', 'torch', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
