from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.model.attention import _CHUNK_VALUES, attention_probabilities
from uce.core.model.backbone import Capture, Conditioning


@pytest.fixture(params=["tiny_backbone", "tiny_backbone_v"])
def backbone(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def inputs(backbone: Any, batch: int = 2, side: tuple[int, int] = (16, 16)) -> tuple[Tensor, Tensor, Conditioning]:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(batch, backbone.latent_channels, *side, generator=generator)
    texts = ["a photo of a cat", "", "the red cup"]
    prompts = [backbone.tokenize(texts[index % 3]) for index in range(batch)]
    return noisy, torch.full((batch,), 300), backbone.encode_prompts(prompts)


def processors(backbone: Any) -> list[Any]:
    return [module.processor for module in backbone.unet.modules() if hasattr(module, "processor")]


def test_watching_changes_no_bit_of_the_prediction(backbone: Any) -> None:
    args = inputs(backbone)
    plain = backbone.predict(*args)
    with backbone.capture(Capture("self"), Capture("cross")):
        assert torch.equal(backbone.predict(*args), plain)


def test_maps_equal_an_eager_softmax(backbone: Any) -> None:
    """The reference here: diffusers' own unfused processor, whose scores are noted."""
    from diffusers.models.attention_processor import AttnProcessor

    args = inputs(backbone)
    with backbone.capture(Capture("self"), Capture("cross")) as maps:
        backbone.predict(*args)
    seen: list[Tensor] = []
    layers = [(name, module) for name, module in backbone.unet.named_modules() if hasattr(module, "processor")]
    own = [module.processor for _, module in layers]
    try:
        for _, module in layers:
            module.processor = AttnProcessor()
            scores = module.get_attention_scores
            module.get_attention_scores = lambda *a, scores=scores, heads=module.heads: _note(scores(*a), heads, seen)
        backbone.predict(*args)
    finally:
        for (_, module), processor in zip(layers, own, strict=True):
            module.processor = processor
            del module.get_attention_scores
    assert len(seen) == len(maps) > 0
    for expected, found in zip(seen, maps, strict=True):
        assert torch.allclose(expected, found.probs, atol=1e-4)  # fused and unfused drift apart layer by layer


def _note(probs: Tensor, heads: int, seen: list[Tensor]) -> Tensor:
    seen.append(probs.unflatten(0, (-1, heads)).mean(dim=1))
    return probs


def test_every_layer_tells_its_grid_and_order(backbone: Any) -> None:
    with backbone.capture(Capture("self")) as maps:
        backbone.predict(*inputs(backbone))
    assert [one.grid[0] for one in maps] == [16, 8, 4, 4, 4, 4, 8, 8, 16, 16]
    places = [one.name.split("_")[0] for one in maps]
    assert places == ["down"] * 3 + ["mid"] + ["up"] * 6
    for one in maps:
        cells = one.grid[0] * one.grid[1]
        assert one.kind == "self" and one.probs.shape == (2, cells, cells) and one.probs.dtype is torch.float32
        assert torch.allclose(one.probs.sum(dim=2), torch.ones(2, cells), atol=1e-5)
        assert one.heads == backbone.unet.get_submodule(one.name).heads


def test_grids_that_are_not_square(backbone: Any) -> None:
    with backbone.capture(Capture("self", sides=frozenset({24}))) as maps:
        backbone.predict(*inputs(backbone, 1, (16, 24)))
    assert {one.grid for one in maps} == {(16, 24)}


def test_only_asked_for_maps_are_kept(backbone: Any) -> None:
    columns = torch.tensor([[3, 5], [1, 0]])
    args = inputs(backbone)
    with backbone.capture(Capture("cross", sides=frozenset({8}))) as whole:
        backbone.predict(*args)
    with backbone.capture(Capture("cross", sides=frozenset({8}), columns=columns)) as maps:
        backbone.predict(*args)
    assert len(maps) == 3 and {one.grid for one in maps} == {(8, 8)}
    for one, full in zip(maps, whole, strict=True):
        assert one.probs.shape == (2, 64, 2) and full.probs.shape == (2, 64, 77)
        for row in range(2):
            assert torch.allclose(one.probs[row], full.probs[row][:, columns[row]])


def test_other_layers_keep_their_processors(backbone: Any) -> None:
    own = processors(backbone)
    with backbone.capture(Capture("cross")):
        pairs = zip(own, processors(backbone), strict=True)
        assert sum(before is not now for before, now in pairs) == len(own) // 2


def test_several_requests_answer_each(backbone: Any) -> None:
    first, second = (Capture("cross", frozenset({8}), torch.tensor([[column]])) for column in (1, 2))
    with backbone.capture(first, second) as maps:
        backbone.predict(*inputs(backbone))
    assert len(maps) == 6 and not torch.equal(maps[0].probs, maps[1].probs)


def test_the_list_grows_pass_by_pass(backbone: Any) -> None:
    args = inputs(backbone)
    with backbone.capture(Capture("self")) as maps:
        backbone.predict(*args)
        once = len(maps)
        backbone.predict(*args)
        assert len(maps) == 2 * once
        maps.clear()
        backbone.predict(*args)
        assert len(maps) == once


@pytest.mark.parametrize("fails", [False, True])
def test_the_unet_is_left_as_it_was(backbone: Any, fails: bool) -> None:
    own = processors(backbone)
    hooks = [len(module._forward_pre_hooks) for module in backbone.unet.modules()]
    with (
        pytest.raises(KeyboardInterrupt) if fails else nullcontext(),
        backbone.capture(Capture("self"), Capture("cross")),
    ):
        backbone.predict(*inputs(backbone))
        if fails:
            raise KeyboardInterrupt
    assert all(before is after for before, after in zip(own, processors(backbone), strict=True))
    assert [len(module._forward_pre_hooks) for module in backbone.unet.modules()] == hooks


def test_an_error_within_a_pass_leaves_it_as_it_was(backbone: Any) -> None:
    own = processors(backbone)
    with (
        pytest.raises(StageInputError, match=r"columns must be \(2, M\) for a pass of 2, found \(3, 1\)"),
        backbone.capture(Capture("cross", columns=torch.zeros(3, 1, dtype=torch.int64))),
    ):
        backbone.predict(*inputs(backbone))
    assert all(before is after for before, after in zip(own, processors(backbone), strict=True))


def test_nested_captures_do_not_disturb_each_other(backbone: Any) -> None:
    own = processors(backbone)
    with backbone.capture(Capture("self")) as outer:
        with backbone.capture(Capture("self"), Capture("cross")) as inner:
            backbone.predict(*inputs(backbone))
        assert len(inner) == 2 * len(outer) > 0
    assert all(before is after for before, after in zip(own, processors(backbone), strict=True))


def test_maps_carry_gradient_to_learned_vectors(backbone: Any) -> None:
    prompt = backbone.tokenize("a photo of <x>", {"<x>": 0})
    columns = torch.tensor([prompt.positions(0)])
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(1, 16, generator=generator).requires_grad_()
    noisy, timesteps, _ = inputs(backbone, 1)

    def mass(values: Tensor) -> Tensor:
        conditioning = backbone.encode_prompts([prompt], {"clip": values})
        with backbone.capture(Capture("cross", frozenset({8}), columns)) as maps:
            backbone.predict(noisy, timesteps, conditioning)
        return torch.stack([one.probs[0, :10].sum() for one in maps]).sum()

    (gradient,) = torch.autograd.grad(mass(vectors), vectors)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        slope = (mass(vectors + step) - mass(vectors - step)) / 2e-2
    assert float(gradient.norm()) > 0 and float(slope / gradient.norm()) == pytest.approx(1, abs=0.02)
    assert all(weight.grad is None for weight in backbone.unet.parameters())


def test_without_gradient_maps_are_plain(backbone: Any) -> None:
    with backbone.capture(Capture("cross"), Capture("self")) as maps:
        backbone.predict(*inputs(backbone))
    assert not any(one.probs.requires_grad for one in maps)


def test_blocks_of_queries_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    query, key = (torch.randn(2, 3, cells, 5, generator=generator) for cells in (33, 9))
    mask = torch.randn(2, 3, 1, 9, generator=generator)
    expected = (query @ key.transpose(-1, -2) * 0.7 + mask).softmax(-1).mean(1)
    assert _CHUNK_VALUES > 1
    monkeypatch.setattr("uce.core.model.attention._CHUNK_VALUES", 4 * 18)
    assert torch.allclose(attention_probabilities(query, key, 0.7, mask=mask), expected, atol=1e-6)
    leaf = query.clone().requires_grad_()
    assert torch.allclose(attention_probabilities(leaf, key, 0.7, mask=mask), expected, atol=1e-6)


def test_columns_out_of_range_are_refused() -> None:
    query = torch.zeros(1, 1, 4, 2)
    with pytest.raises(StageInputError, match="columns must lie in 0 to 3, found up to 9"):
        attention_probabilities(query, query, 1.0, torch.tensor([[9]]))


def test_half_precision_maps_are_float32() -> None:
    query = torch.randn(1, 2, 8, 4, dtype=torch.bfloat16)
    assert attention_probabilities(query, query, 0.5).dtype is torch.float32


def hooks(backbone: Any) -> list[int]:
    return [len(block._forward_hooks) for block in backbone.unet.up_blocks]


def test_features_are_what_decoder_blocks_give_out(backbone: Any) -> None:
    args = inputs(backbone)
    plain = backbone.predict(*args)
    with backbone.capture_features(0, 2) as found:
        assert torch.equal(backbone.predict(*args), plain)
    assert sorted(found) == [0, 2] and hooks(backbone) == [0, 0, 0]
    assert found[0].shape == (2, 32, 8, 8) and found[2].shape == (2, 16, 16, 16) and found[0].dtype is torch.float32
    first = found[0].clone()
    backbone.predict(args[0] + 1, *args[1:])
    assert torch.equal(found[0], first), "passes outside the block leave it alone"


def test_features_leave_the_model_as_found_after_an_error(backbone: Any) -> None:
    with pytest.raises(RuntimeError, match="boom"), backbone.capture_features(1), backbone.capture(Capture("self")):
        raise RuntimeError("boom")
    with pytest.raises(StageInputError, match="no decoder block 3; it has 3, from 0"), backbone.capture_features(0, 3):
        pass
    assert hooks(backbone) == [0, 0, 0]
