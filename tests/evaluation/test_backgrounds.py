"""The recipe's backgrounds are named from pictures."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from uce.benchmarking.pictures import SCENES
from uce.core.flow.picture import load_rgb
from uce.evaluation.backgrounds import name_backgrounds, renderings
from uce.scenes.textures import COLOURS, TEXTURES


def test_renderings_that_were_never_seen_are_named() -> None:
    names = [*COLOURS, *TEXTURES]
    found = name_backgrounds([picture for name in names for picture in renderings(name, 5, seed=999)])
    right = np.array(found).reshape(len(names), 5) == np.array(names)[:, None]
    assert right.mean() > 0.95 and right.mean(axis=1).min() >= 0.6


def test_backgrounds_of_scenes_are_named_with_things_before_them() -> None:
    """All of the shipped validation scenes whose background the recipe made; photographs are none of its."""
    scenes = json.loads((SCENES / "validation" / "index.json").read_text())["scenes"]
    made = [scene for scene in scenes if scene["background"] in (*COLOURS, *TEXTURES)]
    found = name_backgrounds([load_rgb(SCENES / "validation" / f"{scene['name']}.png") for scene in made])
    assert len(made) == 20 and sum(a == scene["background"] for a, scene in zip(found, made, strict=True)) >= 19


def test_a_small_or_large_picture_has_the_same_background() -> None:
    picture = renderings("snow", 1, seed=5)[0]
    larger = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.NEAREST))
    assert name_backgrounds([picture, larger]) == ["snow", "snow"]
