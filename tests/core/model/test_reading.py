"""Attention of chosen layers, and what becomes of it on the grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from uce.core import (
    Capture,
    Context,
    LayerMap,
    Picture,
    StageInputError,
    read_attention,
    read_picture,
    to_grid,
    to_saliency,
)
from uce.core.model.backbone import layer_fits
from uce.plugins.extractors.self_attention import SelfAttentionExtractor
from uce.testing import tiny_backbone as tiny_double
from uce.testing import tiny_picture


@pytest.fixture
def picture() -> Picture:
    return read_picture(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8), 64, "pad")


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("up_blocks.1.attentions.0.transformer_blocks.0.attn1", "up.1*", True),
        ("up_blocks.1.attentions.0.transformer_blocks.0.attn1", "up_blocks.1*", True),
        ("up_blocks.2.attentions.0.transformer_blocks.0.attn1", "up.1*", False),
        ("mid_block.attentions.0.transformer_blocks.0.attn1", "mid*", True),
        ("down_blocks.0.attentions.0.transformer_blocks.0.attn1", "mid*", False),
        ("down_blocks.0.attentions.0.transformer_blocks.0.attn2", "*attn2", True),
        ("single_transformer_blocks.7.attn", "single_transformer.[78].*", True),
        ("anything", "*", True),
    ],
)
def test_patterns_fit_names_in_full_and_in_short(name: str, pattern: str, fits: bool) -> None:
    assert layer_fits(name, pattern) is fits


def test_one_pass_reads_what_patterns_choose(tiny_backbone: Any, picture: Picture, monkeypatch: Any) -> None:
    passes = []
    predict = tiny_backbone.predict
    monkeypatch.setattr(tiny_backbone, "predict", lambda *a: (passes.append(1), predict(*a))[1])
    everything = [layer.name for layer in read_attention(tiny_backbone, picture)]
    assert everything == [layer.name for layer in read_attention(tiny_backbone, picture, layers="*")]
    chosen = read_attention(tiny_backbone, picture, layers=["mid*", "up.1*"])
    assert [m.name for m in chosen] == [n for n in everything if n.startswith(("mid_block", "up_blocks.1"))]
    assert len(passes) == 3 and 0 < len(chosen) < len(everything)
    for layer in chosen:
        cells = layer.grid[0] * layer.grid[1]
        assert layer.kind == "self" and layer.probs.shape == (1, cells, cells) and not layer.probs.requires_grad
        assert torch.allclose(layer.probs.sum(dim=2), torch.ones(1, cells), atol=1e-5)


def test_layers_that_are_not_asked_for_are_not_watched(tiny_backbone: Any) -> None:
    own = {name: m.processor for name, m in tiny_backbone.unet.named_modules() if hasattr(m, "processor")}
    with tiny_backbone.capture(Capture("self", layers=("mid*",))):
        watched = [n for n, m in tiny_backbone.unet.named_modules() if n in own and m.processor is not own[n]]
    assert watched and all(name.startswith("mid_block") for name in watched)


def test_cross_attention_and_the_prompt(tiny_backbone: Any, picture: Picture) -> None:
    maps = read_attention(tiny_backbone, picture, kind="cross", prompt="a photo of a cat", layers="down*")
    length = len(tiny_backbone.tokenize("").ids["clip"])
    assert {layer.kind for layer in maps} == {"cross"} and {layer.probs.shape[2] for layer in maps} == {length}
    other = read_attention(tiny_backbone, picture, kind="cross", layers="down*")
    assert not torch.equal(maps[0].probs, other[0].probs)


def test_noise_comes_from_the_context(tiny_backbone: Any, picture: Picture) -> None:
    def read(**given: Any) -> torch.Tensor:
        return read_attention(tiny_backbone, picture, layers="mid*", **given)[0].probs

    noisy = read(timestep=500, context=Context(seed=1))
    assert torch.equal(noisy, read(timestep=500, context=Context(seed=1)))
    assert not torch.equal(noisy, read(timestep=500, context=Context(seed=2)))
    assert torch.equal(read(timestep=500), read(timestep=500)) and torch.equal(read(), read(context=Context(seed=3)))


def test_all_layers_make_the_affinity_of_the_papers_extractor(tiny_backbone: Any, picture: Picture) -> None:
    plugin = SelfAttentionExtractor()
    expected = plugin.uce_extract_attention(
        backbone=tiny_backbone, image=picture, settings=plugin.Settings(), context=Context(stage="extractor")
    )
    assert torch.equal(to_grid(read_attention(tiny_backbone, picture)), expected.affinity)


def test_maps_come_to_any_grid_with_rows_that_sum_to_one(tiny_backbone: Any, picture: Picture) -> None:
    maps = read_attention(tiny_backbone, picture)
    for grid in ((4, 4), (8, 6), (20, 20)):
        affinity = to_grid(maps, grid)
        assert affinity.shape == (grid[0] * grid[1],) * 2 and affinity.dtype is torch.float32
        assert torch.allclose(affinity.sum(dim=1), torch.ones(len(affinity)), atol=1e-5)
    before = [layer.probs.clone() for layer in maps]
    to_grid(maps, (4, 4))
    assert all(torch.equal(layer.probs, probs) for layer, probs in zip(maps, before, strict=True))


def test_saliency_is_attention_to_one_position() -> None:
    attention = torch.zeros(1, 4, 3)
    attention[0, :, 2] = torch.tensor([0.1, 0.2, 0.3, 0.5])
    layer = LayerMap("mid_block", "cross", (2, 2), 1, attention)
    assert torch.allclose(to_saliency([layer], (2, 2), 2), torch.tensor([[0, 0.25], [0.5, 1]]))
    assert to_saliency([layer], (4, 4), 0).eq(0).all()


def test_a_backbone_that_does_not_know_patterns_still_works() -> None:
    class Older:
        """Keeps all layers of a kind, whatever the patterns say."""

        def __init__(self) -> None:
            self.inner = tiny_double()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def capture(self, *requests: Capture) -> Any:
            return self.inner.capture(*(replace(request, layers=None) for request in requests))

    found = read_attention(Older(), tiny_picture(), layers="mid*")
    assert [layer.name for layer in found] == ["mid_block"]


def test_what_cannot_be_read() -> None:
    backbone, picture = tiny_double(), tiny_picture()
    with pytest.raises(StageInputError, match=r"no self-attention layer fits top\*, side\*; the model's layers: down"):
        read_attention(backbone, picture, layers=("top*", "side*"))
    with pytest.raises(StageInputError, match="timestep must be from 0 to 999, found 1000"):
        read_attention(backbone, picture, timestep=1000)
    cross = read_attention(backbone, picture, kind="cross")
    with pytest.raises(StageInputError, match="to_grid takes the self-attention of one picture, found cross-attention"):
        to_grid(cross, (8, 8))
    with pytest.raises(StageInputError, match="the model has no self-attention layers to read"):
        to_grid([], (8, 8))
    with pytest.raises(StageInputError, match=r"found cross-attention to 24 and position 24 in layer down_blocks\.0"):
        to_saliency(cross, (8, 8), 24)
    with pytest.raises(StageInputError, match="the model has no cross-attention layers"):
        to_saliency([], (8, 8), 0)
