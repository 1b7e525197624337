"""The further pictures of a folder: where they lie, and who may learn from them. How they are read is tested with what
writes them, in test_together.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uce.core.config.options import Options
from uce.core.errors import ConfigError
from uce.core.registry.manager import load_manager
from uce.core.runs.folder import RunFolder
from uce.core.work.sightings import mask_path, picture_path, read_sightings, require_several, slot


def test_places() -> None:
    folder = RunFolder(Path("out"))
    assert picture_path(folder, 1) == Path("out/pictures/1.png")
    assert mask_path(folder, 1, 0) == Path("out/pictures/1-0.png")
    assert slot(2) == "concepts-2"


def test_a_folder_of_one_picture_has_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update_run(status="running")
    work: Any = SimpleNamespace(folder=folder)
    assert read_sightings(work, [0], ["<cup>"]) == ()


@pytest.mark.parametrize("name", ["masked-denoising", "lora", "break-a-scene", "textual-inversion"])
def test_an_optimizer_says_whether_it_learns_from_several(name: str) -> None:
    optimizer = Options(optimizer=name).resolve(load_manager()).optimizer
    if name == "textual-inversion":
        with pytest.raises(ConfigError, match="'textual-inversion' learns from one picture only; choose masked-denois"):
            require_several(optimizer)
    else:
        require_several(optimizer)
