"""How often the long versions try: UCE_KILLS=50 pytest -m faults tests/faults."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faults.harness import TINY, TOY, Starter, settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def kills() -> int:
    return int(os.environ.get("UCE_KILLS", "50"))


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Starter:
    return Starter(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="session")
def picture() -> Path:
    return ROOT / "examples" / "meadow.png"


@pytest.fixture
def mini() -> list[str]:
    """Flags with which the embedded model is done in seconds."""
    return ["--concepts", "0,1", *settings(TINY)]


@pytest.fixture
def toy() -> list[str]:
    """Flags for the test suite's own model; 12 updates, a checkpoint after every third."""
    return [*TOY, *settings(["optimizer.steps=12", "optimizer.merge_step=4", "optimizer.alignment_iterations=5",
                             "run.sample_steps=1", "run.threads=1", "run.checkpoint_every=3"])]  # fmt: skip
