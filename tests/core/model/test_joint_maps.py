"""From slices of joint attention to affinity and saliency, on maps made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uce.core.errors import StageInputError
from uce.core.model import joint_maps
from uce.core.model.abilities import middle_layers
from uce.core.model.backbone import LayerMap
from uce.core.model.joint_maps import JointReading

A = torch.tensor([[0.4, 0.1], [0.2, 0.6]])
B = torch.tensor([[0.1, 0.3], [0.1, 0.1]])


def model(count: int) -> Any:
    return SimpleNamespace(joint_layers=tuple(f"blocks.{i}.attn" for i in range(count)), model="m")


def reading(**changes: Any) -> JointReading:
    return JointReading(**{"path": "picture", "layers": ("a", "b"), "reference": None, "each": True,
                           "saliency": "text"} | changes)  # fmt: skip


def test_the_middle_layers_hold_what_others_chose() -> None:
    flux, sd3 = middle_layers(model(57)), middle_layers(model(24))
    assert flux is not None and sd3 is not None
    assert {f"blocks.{i}.attn" for i in range(15, 19)} <= set(flux) and "blocks.9.attn" not in flux
    assert sd3 == tuple(f"blocks.{i}.attn" for i in range(6, 9)) and middle_layers(model(1)) == ("blocks.0.attn",)
    assert middle_layers(SimpleNamespace()) is None  # type: ignore[arg-type]


def test_blocks_are_counted_as_they_run() -> None:
    assert joint_maps.chosen_layers(model(4), [3, 0]) == ("blocks.3.attn", "blocks.0.attn")
    with pytest.raises(StageInputError, match=r"the model has no block 4; extractor.blocks: 0 to 3"):
        joint_maps.chosen_layers(model(4), [0, 4])
    with pytest.raises(
        StageInputError, match=r"no layers in which text and picture attend together; choose --extractor"
    ):
        joint_maps.chosen_layers(SimpleNamespace(model="unet"), None)  # type: ignore[arg-type]


def test_layers_count_alike_once_their_rows_are_divided() -> None:
    each = joint_maps.combined({"a": A.clone(), "b": B.clone()}, reading())
    assert torch.allclose(each[0], (torch.tensor([0.8, 0.2]) + torch.tensor([0.25, 0.75])) / 2)
    end = joint_maps.combined({"a": A.clone(), "b": B.clone()}, reading(each=False))
    assert torch.allclose(end, (A + B) / 2)


def test_layers_count_by_their_agreement_with_the_reference() -> None:
    found = joint_maps.agreements({"a": A, "b": B, "same": 3 * A}, "a")
    assert found["a"] == pytest.approx(1) and found["same"] == pytest.approx(1)
    cosine = torch.cosine_similarity(A, B, dim=1).mean()
    assert found["b"] == pytest.approx(float(cosine))
    mixed = joint_maps.combined({"a": A.clone(), "b": B.clone()}, reading(reference="a"))
    rows = [x / x.sum(dim=1, keepdim=True) for x in (A, B)]
    weight = float(torch.cosine_similarity(rows[0], rows[1], dim=1).mean())
    assert torch.allclose(mixed, (rows[0] + weight * rows[1]) / (1 + weight))


def test_the_way_through_the_text_joins_cells_that_read_the_same_words() -> None:
    to_text, back = torch.tensor([[0.9, 0.0], [0.0, 0.8], [0.7, 0.1]]), torch.tensor([[0.5, 0, 0.4], [0, 0.9, 0.0]])
    maps = [
        LayerMap("a", "cross", (1, 3), 1, to_text[None]),
        LayerMap("a", "text", (1, 3), 1, back[None]),
    ]
    (found,) = joint_maps._affinities(maps, reading(path="text")).values()
    assert torch.allclose(found, to_text @ back) and float(found[0, 2]) > float(found[0, 1])


def test_saliency_is_attention_to_all_of_the_empty_text_or_to_its_end() -> None:
    backbone: Any = SimpleNamespace(tokenize=lambda text: SimpleNamespace(ending=1))
    maps = [LayerMap(n, "cross", (1, 2), 1, torch.tensor([[[0.1, 0.2, 0.3], [0.0, 0.5, 0.1]]])) for n in "ab"]
    assert torch.allclose(joint_maps.text_attention(backbone, maps, "text"), torch.tensor([0.6, 0.6]))
    assert torch.allclose(joint_maps.text_attention(backbone, maps, "end"), torch.tensor([0.2, 0.5]))


def test_massive_channels_are_left_out() -> None:
    cells = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    cells[:, 5] = 300.0
    kept = joint_maps.without_massive(cells)
    assert kept.shape == (20, 15) and torch.equal(kept, cells[:, [i for i in range(16) if i != 5]])
    alike = joint_maps.likeness(cells, 0.05)
    apart = joint_maps.likeness(kept, 0.05)
    assert float(alike.diagonal().mean()) < 0.1 < 0.9 < float(apart.diagonal().mean())
