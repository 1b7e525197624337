"""Training a UNet's weights and computing with them, on a diffusers model and on the double of uce.testing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from uce.core import ModelError, StageInputError, Tuning, train_weights, use_weights
from uce.core.model.tuning import chosen_modules
from uce.testing import tiny_backbone

LORA, FULL = Tuning("lora", ("attn1", "attn2")), Tuning("full", ("attn2",))


def predict(backbone: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    side = backbone.latent_side
    noisy = torch.randn(1, backbone.latent_channels, side, side, generator=generator)
    conditioning = backbone.encode_prompts([backbone.tokenize("a photo of a cat")])
    return backbone.predict(noisy, torch.tensor([500]), conditioning)


def state(backbone: Any) -> dict[str, Any]:
    """Everything about a diffusers UNet that must be the same afterwards."""
    unet = backbone.unet
    return {
        "values": {name: value.clone() for name, value in unet.state_dict().items()},
        "parameters": {name: (id(value), value.requires_grad, value.grad) for name, value in unet.named_parameters()},
        "modules": {name: id(module) for name, module in unet.named_modules()},
        "attributes": {name: set(vars(module)) for name, module in unet.named_modules()},
        "hooks": len(unet._forward_pre_hooks),
    }


def assert_as_found(backbone: Any, before: dict[str, Any]) -> None:
    after = state(backbone)
    values = before.pop("values")
    assert all(torch.equal(value, values[name]) for name, value in after.pop("values").items())
    assert after == before


def move(trained: Any, size: float = 0.05) -> None:
    """A step away from the start, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in trained.parameters.values():
            value.add_(torch.randn(value.shape, generator=generator) * size)


@pytest.fixture(params=["diffusers", "double"])
def backbone(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("tiny_backbone") if request.param == "diffusers" else tiny_backbone()


@pytest.mark.parametrize("tuning", [LORA, FULL], ids=["lora", "full"])
def test_training_starts_where_the_model_is_and_reaches_the_chosen_tensors_alone(backbone, tuning):
    plain = predict(backbone)
    with train_weights(backbone, tuning) as trained:
        prediction = predict(backbone)
        assert torch.allclose(prediction, plain, atol=1e-6)
        prediction.square().sum().backward()
        assert all(value.dtype is torch.float32 and value.is_leaf for value in trained.parameters.values())
        assert any(value.grad.abs().max() > 0 for value in trained.parameters.values())
    if hasattr(backbone, "unet"):
        assert all(value.grad is None for value in backbone.unet.parameters())


@pytest.mark.parametrize("tuning", [LORA, FULL, Tuning("lora", ("attn2",), rank=2, alpha=6.0)])
def test_exported_weights_compute_what_the_trained_ones_did(backbone, tuning):
    plain = predict(backbone)
    with train_weights(backbone, tuning) as trained:
        move(trained)
        wanted, weights = predict(backbone).detach(), trained.export()
    assert not torch.allclose(wanted, plain, atol=1e-4)
    assert torch.equal(predict(backbone), plain)
    with use_weights(backbone, weights), torch.no_grad():
        assert torch.allclose(predict(backbone), wanted, atol=1e-5)
    assert torch.equal(predict(backbone), plain)
    assert weights and all(name.startswith("unet.") for name in weights)


@pytest.mark.parametrize("tuning", [LORA, FULL, Tuning("full", ())], ids=["lora", "full", "everything"])
def test_unet_is_left_as_it_was_found_also_after_an_error(tiny_backbone, tuning):
    before = state(tiny_backbone)
    with pytest.raises(ZeroDivisionError), train_weights(tiny_backbone, tuning) as trained:
        predict(tiny_backbone).sum().backward()
        move(trained)
        weights = trained.export()
        raise ZeroDivisionError
    assert_as_found(tiny_backbone, dict(before))
    with pytest.raises(ZeroDivisionError), use_weights(tiny_backbone, weights):
        predict(tiny_backbone)
        raise ZeroDivisionError
    assert_as_found(tiny_backbone, dict(before))


def test_global_random_state_is_not_touched_and_the_seed_decides(tiny_backbone):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    starts = []
    for seed in (1, 1, 2):
        with train_weights(tiny_backbone, Tuning(seed=seed)) as trained:
            starts.append(torch.cat([value.detach().flatten() for value in trained.parameters.values()]))
            weights = trained.export()
    with use_weights(tiny_backbone, weights):
        pass
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("tuning", [LORA, FULL], ids=["lora", "full"])
def test_half_precision_trains_float32_tensors(load_backbone, tiny_pipeline, precision, tuning):
    backbone = load_backbone(tiny_pipeline, precision=precision)
    with train_weights(backbone, tuning) as trained:
        predict(backbone).square().sum().backward()
        assert all(value.dtype is torch.float32 for value in trained.parameters.values())
        assert all(torch.isfinite(value.grad).all() for value in trained.parameters.values())
        move(trained)
        wanted, weights = predict(backbone).detach(), trained.export()
    assert all(value.dtype is torch.float32 for value in weights.values())
    with use_weights(backbone, weights), torch.no_grad():
        assert torch.allclose(predict(backbone), wanted, atol=0.05)


def test_modules_are_chosen_by_whole_parts_of_their_names():
    names = ["down.0.attn1.to_q", "down.0.attn2.to_q", "down.10.attn2.to_out.0"]
    assert chosen_modules(names, ["attn2"]) == names[1:]
    assert chosen_modules(names, ["to_out.0", "attn1"]) == [names[0], names[2]]
    assert chosen_modules(names, []) == names
    for wrong in ("attn", "to", "0.attn2.to_"):
        with pytest.raises(StageInputError, match=r"unknown module '.*'; available: attn1, attn2, down, to_out, to_q"):
            chosen_modules(names, ["attn2", wrong])


def test_weights_of_another_model_are_refused(tiny_backbone):
    with train_weights(tiny_backbone, LORA) as trained:
        weights = trained.export()
    name = next(iter(weights))
    for wrong in (
        {f"unet.nowhere{name[4:]}": weights[name]},
        {name: weights[name][:, 1:]},
        {"other.weight": weights[name]},
    ):
        with (
            pytest.raises(ModelError, match=r"does not fit model .* trained with another model"),
            use_weights(tiny_backbone, wrong),
        ):
            pass


def test_model_that_learns_tokens_only_is_said_in_a_sentence(tiny_backbone):
    class TokensOnly:
        model = "plain"

    for enter in (train_weights(TokensOnly(), LORA), use_weights(TokensOnly(), {"a": torch.zeros(1)})):  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=r"model 'plain' .* only tokens can be learned"), enter:
            pass
    with use_weights(TokensOnly(), None):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_pipeline_has_the_weights_on_a_unet_of_its_own(tiny_backbone, kind):
    plain, before = predict(tiny_backbone), state(tiny_backbone)
    with train_weights(tiny_backbone, Tuning(kind)) as trained:
        move(trained)
        wanted, weights = predict(tiny_backbone).detach(), trained.export()
    pipe = tiny_backbone.pipeline(weights=weights)
    conditioning = tiny_backbone.encode_prompts([tiny_backbone.tokenize("a photo of a cat")])
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = pipe.unet(noisy, torch.tensor([500]), encoder_hidden_states=conditioning.states).sample
    assert torch.allclose(found, wanted, atol=1e-5) and not torch.allclose(found, plain, atol=1e-4)
    assert_as_found(tiny_backbone, before)
    assert tiny_backbone.pipeline().unet is tiny_backbone.unet
