"""The commands of docs/plugins.md, run in order in an empty folder, as somebody who follows the page would.

Run as they stand: every `uce` command (in this process, on a real picture with the embedded model) and `pytest` (in
another process). Not run as they stand: `pip install -e` and `pip uninstall` write and remove what pip would (metadata,
entry points and a path), since no test may need a network; `pip install pytest` does nothing. `uce run` gets settings
that make its training short. `.ci/run` installs such packages with pip itself.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from strangers import Site
from test_docs import ROOT, blocks, page, write_files

from uce.core.registry.manager import load_manager

SHORT = ["--set", "optimizer.steps=1", "--set", "run.samples=0"]
FILES = ("pyproject.toml", "leader.py", "test_leader.py", "test_contract.py")
Cli = Callable[..., tuple[int, str, str]]


class Shell:
    """Understands the commands of the page."""

    def __init__(self, cli: Cli, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli, self.site, self.monkeypatch = cli, site, monkeypatch
        self.paths: list[str] = []
        self.ran: list[str] = []

    def run(self, line: str) -> str:
        words = shlex.split(line, comments=True)
        self.ran.append(" ".join(words))
        if words[0] == "uce":
            code, out, err = self.cli(*words[1:], *(SHORT if words[1] in ("run", "batch") else []))
            assert code == 0, f"{line}: {err}"
            return out
        if words[:3] == ["pip", "install", "-e"]:
            self.install(Path(words[3]))
        elif words[:3] == ["pip", "uninstall", "-y"]:
            self.site.uninstall(words[3])
        elif words[:3] == ["python", "-m", "pytest"]:
            return self.pytest(words[3])
        else:
            assert words == ["pip", "install", "pytest"], f"the page shows a command that this test cannot run: {line}"
        return ""

    def install(self, folder: Path) -> None:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert any(need.startswith("uce-concepts") for need in project["dependencies"])
        self.monkeypatch.syspath_prepend(str(folder.resolve()))
        self.paths.append(str(folder.resolve()))
        self.site.install(project["name"], project["version"], project["entry-points"]["uce"])
        self.site.refresh({path.stem for path in folder.glob("*.py")})

    def pytest(self, folder: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*self.paths, str(self.site.folder), str(ROOT)]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # ours may or may not be installed here; this loads it once
            "PYTEST_PLUGINS": "uce.testing.pytest_plugin",
        }
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def shell(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """In a folder with a picture and the page's files."""
    from PIL import Image

    (tmp_path / "site").mkdir()
    (tmp_path / "uce-leader").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    Image.open(ROOT / "examples" / "meadow.png").convert("RGB").save("picture.jpg")
    write_files(tmp_path)
    for name in FILES:
        (tmp_path / "uce-leader" / name).write_bytes((tmp_path / name).read_bytes())
    site = Site(tmp_path / "site")
    yield Shell(cli, site, monkeypatch)
    site.refresh(set())


def test_every_command_of_the_page_runs(shell: Shell) -> None:
    commands = [block.splitlines() for block in blocks(page("plugins.md"), "sh")]
    five_minutes, change, remove, one_file, installed, many, exported = commands

    out = [shell.run(line) for line in five_minutes]
    files = "pyproject.toml, README.md, my_localizer.py, tests/test_my_localizer.py"
    assert out[0].startswith(f"wrote my-localizer: {files}\nnext: pip install -e my-localizer\n")
    assert Path("out/embeddings.safetensors").is_file()
    found = load_manager().get("clusterer", "my-localizer")
    assert (found.origin, found.distribution, found.version) == ("installed", "my-localizer", "0.1.0")

    out = [shell.run(line) for line in change]
    assert "clusterer.clusters = 12" in out[0] and "test_contract PASSED" in out[-1]

    out = [shell.run(line) for line in remove]
    assert "my-localizer" not in out[-1] and "finch" in out[-1]

    out = [shell.run(line) for line in one_file]
    assert "leader.py]" in out[0]

    out = [shell.run(line) for line in installed]
    assert "test_contract[leader] PASSED" in out[1] and "(clusterer), uce-leader 0.1.0" in out[2]
    assert load_manager().get("clusterer", "leader").distribution == "uce-leader"

    Path("photos").mkdir()
    Path("picture.jpg").rename("photos/picture.jpg")
    for line in (*many, *exported):
        shell.run(line)
    assert Path("many/runs/picture/embeddings.safetensors").is_file() and any(Path("sheets").iterdir())
    assert len(shell.ran) == sum(map(len, commands))
