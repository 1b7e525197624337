"""An app without a page, a picture of two plain things, and settings with which a tiny model is done in seconds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from ui_fixtures import wait

from uce.ui.app import App
from uce.ui.menu import Chosen
from uce.ui.workspace import Workspace

QUICK = Chosen(
    plugins={"clusterer": "kmeans"},
    refiners=["none"],
    values={
        "clusterer.clusters": 3,
        "optimizer.steps": 3,
        "optimizer.merge_step": 1,
        "run.sample_steps": 1,
    },
)


@pytest.fixture
def pixels() -> np.ndarray[Any, Any]:
    """uint8 (90, 120, 3)."""
    scene = Image.new("RGB", (120, 90), (190, 210, 230))
    draw = ImageDraw.Draw(scene)
    draw.ellipse((8, 20, 52, 64), fill=(200, 40, 40))
    draw.rectangle((70, 30, 110, 80), fill=(30, 110, 60))
    return np.asarray(scene)


@pytest.fixture
def app(tmp_path: Path, tiny_pipeline: Path) -> Iterator[App]:
    """An app with a tiny random model."""
    app = App(tmp_path / "ui", {"model": str(tiny_pipeline), "device": "cpu"})
    yield app
    app.close()


@pytest.fixture
def person(app: App) -> Workspace:
    """Somebody who is in a hurry."""
    workspace = app.workspaces.new()
    workspace.chosen = copy.deepcopy(QUICK)
    return workspace


@pytest.fixture
def drop(app: App, pixels: np.ndarray[Any, Any]) -> Callable[..., None]:
    """`drop(workspace, name="scene.png")`: upload the picture, as a browser does, and wait until things are found."""

    def put(workspace: Workspace, name: str = "scene.png") -> None:
        folder = app.cache / f"upload-{time.monotonic_ns()}"
        folder.mkdir()
        Image.fromarray(pixels).save(folder / name)
        app.upload(workspace, str(folder / name))
        wait(workspace)

    return put
