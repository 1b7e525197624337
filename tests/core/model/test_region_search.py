"""Regions that nobody gave: where they are found, and that the picture is shared out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uce.core import StageInputError
from uce.core.model.region_search import divided, regions_of, word_places
from uce.core.model.regions import Regions


def spot(row: int, column: int, side: int = 8) -> torch.Tensor:
    heat = torch.full((side, side), 0.05)
    heat[row - 1 : row + 2, column - 1 : column + 2] = 1
    return heat


def test_the_picture_is_shared_out_in_the_order_of_the_heat() -> None:
    upper, lower = divided(torch.stack([spot(1, 3), spot(6, 4)]))
    assert upper[:4].min() == 1 and lower[4:].min() == 1 and torch.equal(upper + lower, torch.ones(8, 8))
    right, left = divided(torch.stack([spot(3, 4), spot(3, 3)]))
    assert left[:, :4].min() == 1 and right[:, 4:].min() == 1


def test_what_would_blend_is_given_equal_room_side_by_side() -> None:
    left, right = divided(torch.stack([spot(3, 3), spot(3, 3)]))
    assert left[:, :4].min() == 1 and right[:, 4:].min() == 1


def test_four_things_have_a_quarter_each_where_they_lie() -> None:
    corners = [(6, 6), (1, 1), (6, 1), (1, 6)]
    found = divided(torch.stack([spot(*corner) for corner in corners]))
    assert torch.equal(found.sum(dim=0), torch.ones(8, 8))
    assert [float(found[i, row, column]) for i, (row, column) in enumerate(corners)] == [1, 1, 1, 1]
    assert found.flatten(1).sum(dim=1).tolist() == [16, 16, 16, 16]
    three = divided(torch.stack([spot(3, 1), spot(3, 3), spot(3, 6)]))
    assert torch.equal(three.sum(dim=0), torch.ones(8, 8)) and three.flatten(1).sum(dim=1).min() >= 16


def test_places_of_tokens_and_words(tiny_backbone: Any) -> None:
    slots = {"<cat>": [0, 1]}
    read = tiny_backbone.tokenize_multi("a cup next to <cat>", slots)
    ids = read.ids["clip"].tolist()
    assert word_places(tiny_backbone, read, "<cat>", slots) == [len(tiny_backbone.word_ids("a cup next to", "clip")) + i
                                                                for i in (1, 2)]  # fmt: skip
    (cup,) = tiny_backbone.word_ids("cup", "clip")
    assert word_places(tiny_backbone, read, "cup", slots) == [ids.index(cup)]
    with pytest.raises(StageInputError, match=r"no region can be found for 'dog'.* give its box with --layout"):
        word_places(tiny_backbone, read, "dog", slots)


def test_what_is_given_is_not_looked_for(tiny_backbone: Any) -> None:
    side = tiny_backbone.latent_side
    mask = torch.zeros(side, side)
    mask[:, : side // 2] = 1

    def never(last: int, report: Any) -> None:
        raise AssertionError

    assert regions_of(tiny_backbone, "a cup", None, {}, 10, never) == {}
    assert regions_of(tiny_backbone, "a cup", Regions({"cup": mask}), {}, 10, never)["cup"] is mask


def test_the_first_steps_are_enough_and_given_places_stay_free(tiny_backbone: Any) -> None:
    side, asked = tiny_backbone.latent_side, []
    mask = torch.zeros(side, side)
    mask[:, : side // 2] = 1

    def draw(last: int, report: Any) -> None:
        asked.append(last)
        states = tiny_backbone.encode_prompts([tiny_backbone.tokenize("a cup and a dog")])
        with torch.no_grad():
            tiny_backbone.predict(torch.zeros(1, tiny_backbone.latent_channels, side, side), torch.tensor([5]), states)
        report(1, last)

    found = regions_of(tiny_backbone, "a cup and a dog", Regions({"dog": None, "cup": mask}), {}, 11, draw)
    assert asked == [3] and list(found) == ["cup", "dog"] and found["cup"] is mask
    assert float((found["dog"] * mask).sum()) == 0
