"""A click takes the cells that attend where the clicked one does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from uce.core.errors import StageInputError
from uce.core.flow.data import AttentionMaps
from uce.core.flow.picture import Picture
from uce.core.registry.manager import load_manager
from uce.ui.growing import Grower

SIDE, CELL = 16, 8
Labels = np.ndarray[Any, Any]


def grower(fit: Any = "stretch", size: tuple[int, int] = (SIDE * CELL, SIDE * CELL)) -> tuple[Grower, Labels]:
    """Two squares of 4 x 4 cells on a background, and which pixel is in which; a cell attends to its own kind."""
    labels = np.zeros((SIDE, SIDE), int)
    labels[2:6, 2:6], labels[10:14, 10:14] = 1, 2
    same = (labels.ravel()[:, None] == labels.ravel()[None]) + 0.002
    affinity = torch.from_numpy(same / same.sum(axis=1, keepdims=True)).float()
    colours = np.array([(40, 90, 40), (220, 60, 60), (220, 60, 60)], np.uint8)[labels]
    original = colours.repeat(CELL, axis=0).repeat(CELL, axis=1)[: size[0], : size[1]]
    saliency = torch.from_numpy((labels > 0).astype(np.float32))
    picture = Picture(torch.empty(3, SIDE * CELL, SIDE * CELL), original, fit)
    return Grower(AttentionMaps(affinity, saliency), picture, load_manager()), labels.repeat(CELL, 0).repeat(CELL, 1)


def test_a_click_grows_to_the_outline_of_its_own_thing() -> None:
    made, labels = grower()
    assert (made.region(30, 30) == (labels == 1)).mean() > 0.99, "the other square, alike in colour, is not touched"


def test_within_a_thing_only_its_own_part_is_taken() -> None:
    made, labels = grower()
    region = made.region(90, 90, labels > 0)
    assert not (region & (labels == 0)).any() and (region == (labels == 2)).mean() > 0.99


def test_the_background_is_refused() -> None:
    made, _ = grower()
    with pytest.raises(StageInputError, match=r"88% of the picture belongs to that place"):
        made.region(2, 120)


def test_a_place_that_the_model_did_not_see_is_said() -> None:
    made, _ = grower("crop", (SIDE * CELL, SIDE * CELL // 2))
    with pytest.raises(StageInputError, match="did not see that place"):
        made.region(10, 1)
