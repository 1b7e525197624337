"""Ablations on a model of a few hundred numbers, with stages that count their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field

import uce
from uce.core import AttentionMaps, Clusters, Concepts
from uce.testing import tiny_attention, tiny_backbone, tiny_labels, tiny_picture

CALLS: Counter[str] = Counter()


class Counting:
    """Brings the model "tiny" and stages that count their calls; its clusterer can be told to fail."""

    name = "counting"

    class Settings(uce.Settings):
        things: int = Field(2, description="things to find")
        fault: str = Field("", description="how to fail: '', 'raise', 'exit', 'interrupt' or 'nothing'")
        strength: float = Field(0, description="changes nothing")

    @uce.hookimpl
    def uce_load_backbone(self, model: str) -> Any:
        if model not in ("tiny", "tiny2"):
            return None
        CALLS[f"load {model}"] += 1
        return tiny_backbone()

    @uce.hookimpl
    def uce_extract_attention(self, settings: Settings) -> AttentionMaps:
        CALLS["extractor"] += 1
        return tiny_attention(things=2, seed=int(settings.strength))

    @uce.hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings) -> Clusters:
        CALLS["clusterer"] += 1
        if settings.fault == "raise":
            raise ZeroDivisionError("a <b>mess</b>")
        if settings.fault == "exit":
            raise SystemExit(3)
        if settings.fault == "interrupt" and FAULTS:
            FAULTS.pop()
            raise KeyboardInterrupt
        labels = tiny_labels(things=2)
        return Clusters(torch.full_like(labels, -1) if settings.fault == "nothing" else labels - 1)

    @uce.hookimpl
    def uce_refine_masks(self, concepts: Concepts, settings: Settings) -> Concepts:
        CALLS["refiner"] += 1
        return concepts.select(range(min(settings.things, len(concepts))))


FAULTS: list[str] = []


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The plugin, as if a distribution brought it; calls are counted from 0."""
    from uce.core.work import models as session

    entry = SimpleNamespace(
        name="counting", load=lambda: Counting, dist=SimpleNamespace(name="uce-counting", version="1.0")
    )
    original = metadata.entry_points
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == "uce" else original(group=group))
    session.forget_backbone()
    CALLS.clear()
    FAULTS.clear()
    yield CALLS
    session.forget_backbone()


@pytest.fixture
def fault() -> Callable[[], None]:
    """The next clusterer whose fault is "interrupt" interrupts, once."""
    return lambda: FAULTS.append("interrupt")


BASE: dict[str, Any] = {
    "model": "tiny",
    "extractor": "counting",
    "clusterer": "counting",
    "refiner": "counting",
    "set": {
        "optimizer.steps": 3,
        "optimizer.merge_step": 1,
        "optimizer.alignment_iterations": 5,
        "run.sample_steps": 1,
        "run.threads": 1,
    },
}


@pytest.fixture
def base() -> dict[str, Any]:
    return {**BASE, "set": dict(BASE["set"])}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pictures; the second has a name that a page must escape."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / "scene.png", folder / "a & b.png"]
    Image.fromarray(tiny_picture((40, 40)).original).save(paths[0])
    Image.fromarray(tiny_picture((36, 36)).original).save(paths[1])
    return paths


@pytest.fixture(scope="session")
def truth(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True masks of both: the left thing of the counting clusterer exactly, and one that nobody finds."""
    folder = tmp_path_factory.mktemp("truth")
    for path in pictures:
        with Image.open(path) as picture:
            side = picture.width
        labels = np.zeros((side, side), np.uint8)
        labels[side // 4 : side * 3 // 4, : side * 3 // 8] = 1
        labels[: side // 8] = 2
        Image.fromarray(labels).save(folder / path.name)
    return folder
