"""Pictures, and options for a model that is there at once, in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from uce.core.work import models as session
from uce.testing import tiny_picture

STABLE = ("concepts.json", "masks/*.png", "embeddings.safetensors", "tokens/*.safetensors", "history.csv")
SETTINGS = {
    "optimizer.steps": 3,
    "optimizer.merge_step": 1,
    "optimizer.alignment_iterations": 5,
    "run.sample_steps": 1,
}


@pytest.fixture(autouse=True)
def no_model() -> Iterator[None]:
    session.forget_backbone()
    yield
    session.forget_backbone()


@pytest.fixture
def base() -> dict[str, Any]:
    """Keyword arguments of `uce.batch`."""
    return {
        "model": "toy",
        "extractor": "toy",
        "clusterer": "toy",
        "refiner": "none",
        "plugin": [str(Path(__file__).with_name("toy_plugin.py"))],
        "set": dict(SETTINGS),
    }


@pytest.fixture
def flags() -> list[str]:
    """The same on the command line."""
    settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    stages = ["--extractor", "toy", "--clusterer", "toy", "--refiner", "none"]
    return ["--model", "toy", "--plugin", str(Path(__file__).with_name("toy_plugin.py")), *stages, *settings]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of four pictures, no two alike."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        array = tiny_picture((40, 40 + 2 * number)).original.copy()
        array[:8] = 40 * number
        Image.fromarray(array).save(folder / f"scene {number}.png")
    return folder


@pytest.fixture
def stable_bytes() -> Callable[[Path], dict[str, bytes]]:
    """The byte-stable files of a batch's runs."""

    def read(folder: Path) -> dict[str, bytes]:
        runs = folder / "runs"
        found = {str(path.relative_to(runs)): path.read_bytes() for p in STABLE for path in sorted(runs.glob(f"*/{p}"))}
        assert found
        return found

    return read
