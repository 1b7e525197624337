"""Features of things: the same for a thing that is moved, enlarged and put before another background."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from uce.core.config.options import Options
from uce.core.work.models import backbone_for
from uce.matching.features import Features, concept_features, likeness, on_grey


@pytest.fixture(scope="module")
def mini() -> Any:
    options = Options(model="mini", device="cpu")
    return backbone_for(manager := options.manager(), options.resolve(manager))


def scene(things: list[tuple[str, int, tuple[int, int]]], background: int) -> tuple[Any, list[Any]]:
    """Discs and crosses: (colour, diameter, corner) each; the picture and its masks."""
    picture, masks = Image.new("RGB", (128, 128), (background,) * 3), []
    for colour, side, corner in things:
        grid = np.mgrid[:side, :side] - (side - 1) / 2
        shape = np.hypot(*grid) < side / 2 if colour != "blue" else (abs(grid) < side / 6).any(axis=0)
        picture.paste(Image.new("RGB", (side, side), colour), corner, Image.fromarray(np.uint8(255) * shape))
        mask = np.zeros((128, 128), bool)
        mask[corner[1] : corner[1] + side, corner[0] : corner[0] + side] = shape
        masks.append(mask)
    return np.asarray(picture), masks


def test_a_cut_out_is_the_thing_alone_at_one_size() -> None:
    picture, masks = scene([("red", 30, (10, 80))], 60)
    square, shown = on_grey(picture, masks[0], 64)
    rows = np.flatnonzero(shown.any(axis=1))
    assert abs(len(rows) - 0.8 * 64) <= 2 and abs(rows.mean() - 31.5) <= 1
    assert (square[0, 0] == 236).all() and (square[32, 32] == [255, 0, 0]).all()


def test_the_same_thing_scores_higher_than_another_wherever_it_stands(mini: Any) -> None:
    left = concept_features(mini, *scene([("red", 40, (10, 10)), ("blue", 48, (70, 60))], 40))
    right = concept_features(mini, *scene([("blue", 36, (5, 80)), ("red", 56, (60, 8))], 200))
    scores = likeness(left, right)
    assert scores[0, 1] > 0.9 and scores[1, 0] > 0.9 and max(scores[0, 0], scores[1, 1]) < 0.7
    assert scores.max() <= 1 + 1e-9
    assert np.array_equal(concept_features(mini, *scene([("red", 40, (10, 10))], 40)).seen, left.seen[:1])  # type: ignore[index]


def test_without_features_of_the_model_colours_count_alone() -> None:
    rows = np.eye(2)
    assert np.array_equal(likeness(Features(rows, None), Features(rows, np.ones((2, 3)))), rows)
    picture, masks = scene([("red", 40, (10, 10))], 40)
    assert concept_features(object(), picture, masks).seen is None  # type: ignore[arg-type]
    assert concept_features(object(), picture, []).colours.shape == (0, 144)  # type: ignore[arg-type]
