"""README's commands, each as it stands there, one after the other, as a newcomer would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_docs import ROOT, blocks, section

import uce
from uce.core.config.presets import PRESETS

PHOTOGRAPHER = re.compile(r"--model (sd1\.5|path/to/\S+)")
"""A model that nobody has here; `mini` stands in, and an example for the photograph."""
ELSEWHERE = ("uce ui", "uce doctor")
"""One goes on until it is ended (tests/ui), the other takes minutes (tests/comparing)."""


def commands() -> list[str]:
    """Every `uce` command under "Start", without the remark behind it."""
    text = "".join(blocks(section((ROOT / "README.md").read_text(encoding="utf-8"), "## Start"), "sh"))
    lines = [part.strip() for line in text.splitlines() for part in line.split(" #")[0].split("&&")]
    return [line for line in lines if line.startswith("uce ")]


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and a photograph; learning is short, nothing else is changed."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "photos").mkdir()
    for path in (tmp_path / "photo.jpg", tmp_path / "photos" / "first.jpg"):
        Image.open(ROOT / "examples" / "beach.png").convert("RGB").save(path, quality=95)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(
        PRESETS["default"], "optimizer", {**PRESETS["default"]["optimizer"], "steps": 3, "merge_step": 1}
    )
    monkeypatch.setitem(PRESETS["default"], "run", {"sample_steps": 1})
    return tmp_path


def test_every_command_of_the_readme_works(cli: Callable[..., tuple[int, str, str]], newcomer: Path) -> None:
    asked = commands()
    assert len(asked) > 10 and {shlex.split(line)[1] for line in asked} >= {
        "run",
        "generate",
        "learn",
        "match",
        "batch",
    }
    stand_in = f"--model {shlex.quote(str(uce.model_path('mini')))}"
    for command in asked:
        if command.startswith(ELSEWHERE):
            continue
        words: list[Any] = shlex.split(PHOTOGRAPHER.sub(stand_in, command))
        code, _, err = cli(*words[1:])
        assert code == 0, f"{command}: {err[-1500:]}"
    made = ["out/report.html", "pictures/*.png", "photo-run/overlay.png", "masks/tokens/*", "other/masks/*.png",
            "match.png", "grid/ablation.html", "many/runs/*/embeddings.safetensors", "my-localizer/*.py"]  # fmt: skip
    assert [name for name in made if not list(newcomer.glob(name))] == []
