"""Composed scenes with truth: determined by their seed, and hard in the way their label says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from uce.benchmarking.pictures import SCENES
from uce.scenes import layouts
from uce.scenes.composing import Scene
from uce.scenes.objects import Split, split_of
from uce.scenes.photos import PHOTOS, photo
from uce.scenes.sets import KINDS, compose_scene, look_alike, write_scenes
from uce.scenes.textures import TEXTURES
from uce.scenes.things import make_loader

OBJECTS = os.environ.get("UCE_OBJECTS")
STEMS = [f"stem{number}" for number in range(12)]
ALIKE = [("stem0", "stem1"), ("stem2", "stem3")]


def draw(stem: str) -> Image.Image:
    """A stand-in object: a disc or a box, of a colour that depends on the stem."""
    digest = hashlib.sha256(stem.encode()).digest()
    picture = Image.new("RGBA", (128, 128))
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if digest[3] % 2 else pen.rectangle)((4, 10, 124, 110), fill=(*digest[:3], 255))
    return picture


def scene(kind: str, number: int = 0, side: int = 256, stems: Sequence[str] = STEMS) -> Scene:
    return compose_scene(kind, number, stems, make_loader(draw), "test", side=side, alike=ALIKE)


def touching(first: np.ndarray, second: np.ndarray, reach: int = 2) -> bool:
    return bool((binary_dilation(first, iterations=reach) & second).any())


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_are_determined_and_true(kind: str) -> None:
    for number in range(2):
        one, again = scene(kind, number), scene(kind, number)
        assert (one.picture == again.picture).all() and (one.masks == again.masks).all()
        assert len(one.masks) == KINDS[kind].counts[number % len(KINDS[kind].counts)] == len(one.things)
        assert one.picture.shape == (256, 256, 3) and one.masks.sum(axis=0).max() == 1
        assert one.masks.any(axis=(1, 2)).all()
    assert (scene(kind, 0).picture != scene(kind, 1).picture).any()


def test_touching_things_touch_and_hide_nothing() -> None:
    for number in range(4):
        found = scene("touching", number)
        for first, second in pairwise(found.masks):
            assert touching(first, second)


def test_overlapping_things_hide_a_known_part() -> None:
    """Solid squares of 60 pixels: the common rectangle is counted by hand, and one column more would be too much."""
    squares = [Image.new("RGBA", (60, 60), "red")] * 3
    low, high = layouts.COVERED
    for seed in range(20):
        corners = layouts.place(np.random.default_rng(seed), squares, 256, "overlapping")
        for (left, top), (right, below) in pairwise(corners):
            share = (left + 60 - right) * (60 - abs(top - below)) / 60**2
            assert low - 1 / 60 <= share <= high
        assert all(0 <= x <= 196 and 0 <= y <= 196 for x, y in corners)


def test_things_beside_each_other_leave_a_narrow_gap() -> None:
    for kind in ("similar", "twice"):
        found = scene(kind)
        assert not touching(found.masks[0], found.masks[1], 1)
        assert touching(found.masks[0], found.masks[1], 12)


def test_choice_of_things() -> None:
    first, second, third = (thing.stem for thing in scene("twice", 1).things)
    assert first == second != third
    assert tuple(t.stem for t in scene("similar").things) in ALIKE
    for kind in ("pair", "many", "photo"):
        stems = [thing.stem for thing in scene(kind).things]
        assert len(set(stems)) == len(stems)


def test_small_things_are_small() -> None:
    assert max(mask.mean() for mask in scene("small", 1).masks) < 0.2**2
    assert min(mask.mean() for mask in scene("pair").masks) > 0.2**2


def test_backgrounds() -> None:
    assert {scene("photo", number).background for number in range(8)} == set(PHOTOS)
    assert {scene("textured", number).background for number in range(8)} == set(TEXTURES)
    found = scene("photo", 1)
    outside = ~binary_dilation(found.masks.any(axis=0), iterations=30)  # beyond their shadows
    difference = np.abs(found.picture / 255 - photo(found.background, 256))[outside]
    assert outside.any() and difference.max() < 0.02


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_lie_in_installed_packages(name: str) -> None:
    picture = photo(name, 64)
    assert picture.shape == (64, 64, 3) and picture.min() >= 0 and picture.max() <= 1 and picture.std() > 0.02


def test_look_alike_pairs_by_looks() -> None:
    """Two red discs, two blue boxes: pairs of one kind come first, and no thing is in two pairs."""

    def paint(stem: str) -> Image.Image:
        picture = Image.new("RGBA", (64, 64))
        pen = ImageDraw.Draw(picture)
        if stem.startswith("red"):
            pen.ellipse((4, 4, 60, 60), fill=(220, 30 + 5 * int(stem[-1]), 30, 255))
        else:
            pen.rectangle((2, 20, 62, 44), fill=(30, 30 + 9 * int(stem[-1]), 220, 255))
        return picture

    pairs = look_alike(["red1", "blue1", "red2", "blue2"], make_loader(paint))
    assert {frozenset(pair) for pair in pairs} == {frozenset({"red1", "red2"}), frozenset({"blue1", "blue2"})}


def test_unknown_kinds_and_missing_pairs() -> None:
    with pytest.raises(ValueError, match="unknown kind 'crowd'; available: single"):
        scene("crowd")
    with pytest.raises(ValueError, match="which objects look alike"):
        compose_scene("similar", 0, STEMS, make_loader(draw))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_shipped_scenes(split: str) -> None:
    """At least 24 in all, one to five things, held out, with truth of the same size and what the index says."""
    folder = SCENES / split
    document = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert document["split"] == split and len(document["scenes"]) == 24
    assert {row["labels"][0] for row in document["scenes"]} == set(KINDS)
    assert {len(row["things"]) for row in document["scenes"]} == {1, 2, 3, 4, 5}
    for row in document["scenes"]:
        assert all(split_of(stem) == split for stem in row["things"])
        labels = np.asarray(Image.open(folder / "truth" / f"{row['name']}.png"))
        assert np.asarray(Image.open(folder / f"{row['name']}.png")).shape == (256, 256, 3)
        assert labels.shape == (256, 256) and labels.dtype == np.uint8
        assert set(np.unique(labels)) == set(range(len(row["things"]) + 1))
    assert sum(path.stat().st_size for path in SCENES.rglob("*")) < 3_000_000


@pytest.mark.skipif(not OBJECTS, reason="UCE_OBJECTS does not name the folder of the objects' pictures")
@pytest.mark.parametrize("split", ["validation", "test"])
def test_shipped_scenes_are_what_the_generator_makes(split: Split, tmp_path: Path) -> None:
    write_scenes(Path(str(OBJECTS)), tmp_path, split)
    assert (tmp_path / "index.json").read_bytes() == (SCENES / split / "index.json").read_bytes()
    for path in sorted(tmp_path.rglob("*.png")):
        shipped = np.asarray(Image.open(SCENES / split / path.relative_to(tmp_path)))
        assert (np.asarray(Image.open(path)) == shipped).all(), path.name
