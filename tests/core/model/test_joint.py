"""Slices of joint attention against a computation of their own, from each layer's own queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_transformers import load, write_flux, write_sd3
from torch import Tensor, nn

from uce.core.errors import StageInputError
from uce.core.model import joint
from uce.core.model.backbone import Capture

MODELS: dict[str, Callable[[Path], Path]] = {
    "flux": write_flux,
    "sd3": write_sd3,
    "sd3.5": lambda folder: write_sd3(folder, newer=True),
}


@pytest.fixture(scope="module", params=MODELS)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(MODELS[request.param](tmp_path_factory.mktemp("joint") / "model"))


def predict(backbone: Any, *, seed: int = 0) -> Tensor:
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    conditioning = backbone.encode_prompts([backbone.tokenize("a photo of a cat")])
    found: Tensor = backbone.predict(noisy, torch.tensor([400]), conditioning)
    return found


def own_attention(backbone: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Softmax of what a layer hands to the fused kernel, mean over heads, (S, S), in the layer's own order."""
    given: list[tuple[Tensor, Tensor]] = []
    layer = backbone.transformer.get_submodule(name)
    fused = nn.functional.scaled_dot_product_attention

    def kernel(query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        given.append((query, key))
        return fused(query, key, *args, **kwargs)

    handles = [
        layer.register_forward_pre_hook(
            lambda *_: monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", kernel)
        ),
        layer.register_forward_hook(
            lambda *_: monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", fused)
        ),
    ]
    with torch.no_grad():
        predict(backbone)
    for handle in handles:
        handle.remove()
    ((query, key),) = given
    scores = torch.einsum("bhqd,bhkd->bhqk", query.double(), key.double()) / query.shape[-1] ** 0.5
    return scores.softmax(-1).mean(1)[0].float()


def test_the_prediction_is_the_same_bit_for_bit(backbone: Any) -> None:
    with torch.no_grad():
        alone = predict(backbone)
        processors = {name: id(layer.processor) for name, layer in joint._layers(backbone.transformer)}
        with (
            backbone.capture(Capture("self"), Capture("cross"), Capture("text")) as maps,
            backbone.capture_features(0, 3) as features,
        ):
            watched = predict(backbone)
    assert torch.equal(alone, watched) and len(maps) >= 12 and set(features) == {0, 3}
    assert processors == {name: id(layer.processor) for name, layer in joint._layers(backbone.transformer)}


def test_an_error_leaves_the_model_as_it_was(backbone: Any) -> None:
    before = [layer.processor for _, layer in joint._layers(backbone.transformer)]
    with pytest.raises(RuntimeError, match="stop"), backbone.capture(Capture("self")):
        raise RuntimeError("stop")
    assert before == [layer.processor for _, layer in joint._layers(backbone.transformer)]
    assert not backbone.transformer._forward_pre_hooks


def test_slices_equal_the_layers_own_queries_and_keys(backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotary embeddings, norms of queries and keys, and the order of text and picture are the layer's own."""
    with torch.no_grad(), backbone.capture(Capture("self"), Capture("cross"), Capture("text")) as maps:
        predict(backbone)
    by_name = {(layer.name, layer.kind): layer for layer in maps}
    text_first = "Flux" in type(backbone).__name__
    for name in backbone.joint_layers:
        whole = own_attention(backbone, name, monkeypatch)
        if not text_first:
            whole = whole.roll((-64, -64), (0, 1))  # text, then picture
        text = len(whole) - 64
        slices = {"self": whole[text:, text:], "cross": whole[text:, :text], "text": whole[:text, text:]}
        for kind, expected in slices.items():
            layer = by_name[name, kind]
            assert layer.grid == (8, 8) and layer.heads == 2
            assert torch.allclose(layer.probs[0], expected, atol=1e-5), (name, kind)
            assert float(expected.std()) > 1e-4


def test_columns_choose_text_positions(backbone: Any) -> None:
    columns = torch.tensor([[3, 0]])
    with torch.no_grad(), backbone.capture(Capture("cross"), Capture("text")) as whole:
        predict(backbone)
    with torch.no_grad(), backbone.capture(Capture("cross", columns=columns), Capture("text", columns=columns)) as some:
        predict(backbone)
    for all_of_it, part in zip(whole, some, strict=True):
        assert torch.allclose(
            part.probs, all_of_it.probs[:, :, [3, 0]] if part.kind == "cross" else all_of_it.probs[:, [3, 0]], atol=1e-7
        )


def test_columns_beyond_the_text_are_refused(backbone: Any) -> None:
    with (
        pytest.raises(StageInputError, match=r"columns must lie in 0 to \d+, the text's positions; found 150"),
        backbone.capture(Capture("cross", columns=torch.tensor([[150]]))),
    ):
        predict(backbone)


def test_layers_are_chosen_by_name_and_side(backbone: Any) -> None:
    last = backbone.joint_layers[-1]
    with torch.no_grad(), backbone.capture(Capture("self", layers=(last,))) as maps:
        predict(backbone)
    assert [layer.name for layer in maps] == [last]
    with torch.no_grad(), backbone.capture(Capture("self", sides=frozenset({16}))) as maps:
        predict(backbone)
    assert maps == []


def test_the_gradient_is_that_of_the_whole_map(backbone: Any) -> None:
    """Heads are computed again on the way back; what comes out must not change by that."""
    name = backbone.joint_layers[1]
    encoder = backbone.encoders[0]
    vectors = {
        e: torch.randn(1, backbone.embedding_table(e).shape[1], generator=torch.Generator().manual_seed(1))
        for e in backbone.encoders
    }
    leaf = vectors[encoder].requires_grad_()
    prompt = backbone.tokenize("a <x> cat", {"<x>": 0})
    columns = torch.tensor([prompt.positions(0)])
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for chosen in (columns, None):
        with backbone.capture(Capture("cross", layers=(name,), columns=chosen)) as maps:
            backbone.predict(noisy, torch.tensor([400]), backbone.encode_prompts([prompt], vectors))
        probs = maps[0].probs if chosen is not None else maps[0].probs[:, :, columns[0]]
        found.append(torch.autograd.grad(probs.square().sum(), leaf)[0])
    assert float(found[0].abs().max()) > 0
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-9)


def test_features_are_what_the_attention_of_a_block_reads_and_gives(backbone: Any) -> None:
    seen: dict[str, Tensor] = {}
    layer = backbone.transformer.get_submodule(backbone.joint_layers[0])

    def note(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        seen["reads"], seen["gives"] = kwargs["hidden_states"], output[0]

    handle = layer.register_forward_hook(note, with_kwargs=True)
    with torch.no_grad():
        for of, key in (("modulated", "reads"), ("attention", "gives")):
            with backbone.capture_features(0, of=of) as found:
                predict(backbone)
            assert found[0].shape == (1, 32, 8, 8)
            assert torch.equal(found[0].flatten(2).transpose(1, 2), seen[key].float())
    handle.remove()


def test_a_block_that_there_is_not_is_refused(backbone: Any) -> None:
    with (
        pytest.raises(StageInputError, match=r"the model has no block 9; it has 4, from 0 \(the first that runs\)"),
        backbone.capture_features(9),
    ):
        pass
