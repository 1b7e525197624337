"""Where tokens worked in a drawn picture."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from uce.core import LayerMap
from uce.core.model.heat import TokenHeat, draw_with_heat, paint_heat
from uce.testing import tiny_backbone


def layer(side: int, probs: torch.Tensor) -> LayerMap:
    return LayerMap("up.0", "cross", (side, side), 1, probs)


def test_layers_are_summed_at_the_largest_size_and_scaled() -> None:
    heat = TokenHeat({"<a>": [0], "<b>": [1, 2]})
    assert heat.columns.tolist() == [[0, 1, 2]]
    fine, coarse = torch.zeros(2, 16, 3), torch.zeros(2, 4, 3)
    fine[1, 5, 0], coarse[1, 3, 1], coarse[1, 3, 2] = 1.0, 1.0, 1.0
    fine[0] = 9  # not the prompt that is drawn
    maps = [layer(4, fine), layer(2, coarse)]
    heat.add(maps)
    assert maps == []
    found = heat.result()
    assert found["<a>"].shape == (4, 4) and found["<a>"].argmax() == 5 and found["<a>"].sum() == 1
    assert found["<b>"].max() == 1 and found["<b>"].min() == 0 and found["<b>"].argmax() == 15


def test_a_prompt_without_a_token_has_no_heat() -> None:
    backbone = tiny_backbone()
    vectors = {"<cup>": {"clip": torch.zeros(1, backbone.embedding_table("clip").shape[1])}}
    how = {"seeds": [1], "steps": 2}
    plain, none = draw_with_heat(backbone, "a photo of a cat", vectors, **how)
    drawn, heat = draw_with_heat(backbone, "a photo of <cup>", vectors, **how)
    assert none == {} and plain.size == drawn.size
    assert list(heat) == ["<cup>"] and 0 <= heat["<cup>"].min() <= heat["<cup>"].max() <= 1


def test_hot_places_are_lighter_than_cold_ones() -> None:
    heat = np.zeros((4, 4))
    heat[:, 2:] = 1
    painted = np.asarray(paint_heat(Image.new("RGB", (32, 24), (128, 128, 128)), heat).convert("L"), float)
    assert painted.shape == (24, 32) and painted[:, 26:].mean() > painted[:, :6].mean() + 40
