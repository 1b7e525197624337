"""The three first pages lead from install to a result: each of their commands is run, as it stands there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import ROOT, blocks, page

MINUTES = 5
SKIPPED = ("pip install", "uce run photo.jpg", "uce ui", "uce benchmark")
"""Not run here: installing (CI's first step is that very line), a photograph with another model, the browser, and the
benchmark, which has tests of its own."""
QUICK = {"uce run": ["--set", "optimizer.steps=4", "--set", "run.samples=0"], "uce generate": ["--steps", "2"]}
"""What keeps the suite short: fewer steps; nothing else is changed."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a newcomer works: the examples lie there."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def commands(name: str) -> list[str]:
    lines = "".join(blocks(page(name), "sh")).splitlines()
    return [line for line in lines if not line.startswith(SKIPPED)]


def run(command: str, folder: Path) -> None:
    extra = QUICK.get(" ".join(command.split()[:2]), [])
    words = [*shlex.split(command), *extra]
    module = {"uce": "uce.cli", "pytest": "pytest"}[words[0]]
    path = os.pathsep.join([str(ROOT), str(folder / "my-localizer")])
    environment = {**os.environ, "PYTHONPATH": path}
    if "my-localizer" in command and words[0] == "uce" and words[1] != "plugins":  # as if it were installed
        words += ["--plugin", str(folder / "my-localizer" / "my_localizer.py")]
    done = subprocess.run([sys.executable, "-m", module, *words[1:]], cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()[-2000:]}"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("first-draw.md", ["out/overlay.png", "pictures/*.png"]),
        ("first-ablation.md", ["grid/ablation.html", "grid/ablation.md", "grid/ablation.tex"]),
        ("first-plugin.md", ["my-localizer/my_localizer.py", "own/masks/0.png"]),
    ],
)
def test_a_first_page_leads_to_its_result(folder: Path, name: str, made: list[str]) -> None:
    began = time.monotonic()
    asked = commands(name)
    assert asked
    for command in asked:
        run(command, folder)
    assert all(list(folder.glob(pattern)) for pattern in made)
    assert time.monotonic() - began < MINUTES * 60
