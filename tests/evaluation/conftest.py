"""Runs of a tiny random model, and an encoder that needs no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import uce

ENCODER = '''
"""Mean colours of a 4 x 4 grid, as an encoder."""

import numpy as np
from PIL import Image

import uce


class Loaded:
    description = "mean colours"

    def encode(self, pictures):
        small = [np.asarray(Image.fromarray(picture).resize((4, 4), Image.Resampling.BOX)) for picture in pictures]
        return np.stack(small).reshape(len(pictures), -1).astype(np.float32) / 255 - 0.5


class MeanColours:
    """Mean colours: for tests."""

    name = "mean-colours"

    @uce.hookimpl
    def uce_load_encoder(self):
        return Loaded()
'''
READER = ENCODER.replace("MeanColours", "Reader").replace("mean-colours", "reader").replace(
    "class Reader:", """class Reads(Loaded):
    def encode_texts(self, texts):
        red = np.tile(np.float32([0.5, -0.5, -0.5]), 16)
        return np.stack([red if "red" in text.split() else -red for text in texts])


class Reader:"""
).replace("return Loaded()", "return Reads()")  # fmt: skip
QUICK = {"optimizer.schedule": "batched", "optimizer.steps": 2, "optimizer.merge_step": 1, "run.samples": 0}


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`--plugin` of the encoder `mean-colours`."""
    path = tmp_path_factory.mktemp("plugins") / "mean_colours.py"
    path.write_text(ENCODER, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def reader_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`--plugin` of the encoder `reader`, which reads texts: it knows red."""
    path = tmp_path_factory.mktemp("plugins") / "reader.py"
    path.write_text(READER, encoding="utf-8")
    return path


def draw_scene(path: Path, boxes: Sequence[tuple[int, int, int, int]]) -> Path:
    """Boxes of several colours, not square; the truth beside it in truth/."""
    scene, truth = Image.new("RGB", (80, 64), (190, 210, 230)), Image.new("L", (80, 64))
    for number, box in enumerate(boxes):
        ImageDraw.Draw(scene).rectangle(box, fill=[(200, 40, 40), (30, 110, 60), (240, 220, 40)][number])
        ImageDraw.Draw(truth).rectangle(box, fill=number + 1)
    (path.parent / "truth").mkdir(exist_ok=True)
    scene.save(path)
    truth.save(path.parent / "truth" / path.name)
    return path


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with truth."""
    folder = tmp_path_factory.mktemp("scenes")
    draw_scene(folder / "one.png", [(6, 10, 30, 40), (44, 20, 70, 56)])
    draw_scene(folder / "two.png", [(10, 6, 40, 30)])
    return folder


@pytest.fixture(scope="session")
def runs(scenes: Path, tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Finished runs of both pictures."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        uce.run(
            scenes / f"{name}.png",
            folder / name,
            model=str(tiny_pipeline),
            clusterer="kmeans",
            refiner="none",
            set={**QUICK, "clusterer.clusters": 2},
        )
    return [folder / "one", folder / "two"]
