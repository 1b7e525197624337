"""What a transformer holds and where, and what is laid beside it: the settings that Stable Diffusion has, too."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_transformers import load

from uce.core import Capture, ModelError
from uce.plugins.backbones._sd.residence import Residence


@pytest.fixture(params=["flux", "sd3"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(f"tiny_{request.param}")
    return found


def leaf(backbone: Any) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(1, backbone.embedding_table(name).shape[1], generator=generator).requires_grad_()
        for name in backbone.encoders
    }


def forward(backbone: Any, vectors: dict[str, torch.Tensor]) -> torch.Tensor:
    prompt = backbone.tokenize("a photo of <x>", {"<x>": 0})
    noisy = latent(backbone)
    with backbone.capture(Capture("cross", layers=("*.1.attn",))) as maps:
        states = backbone.encode_prompts([prompt], vectors)
        prediction = backbone.predict(noisy, torch.tensor([500.0]), states)
    assert maps
    return prediction.square().mean() + sum(one.probs[..., 4].mean() for one in maps)


def latent(backbone: Any) -> torch.Tensor:
    side = backbone.latent_side
    return torch.randn(1, backbone.latent_channels, side, side, generator=torch.Generator().manual_seed(0))


def test_checkpointing_changes_no_bit_of_a_gradient(folder: Path) -> None:
    plain, twice = load(folder), load(folder, checkpointing=True)
    calls: list[int] = []
    twice.transformer.get_submodule("transformer_blocks.1.norm1").register_forward_hook(lambda *_: calls.append(1))
    given = [leaf(plain), leaf(twice)]
    losses = [forward(backbone, vectors) for backbone, vectors in zip((plain, twice), given, strict=True)]
    assert torch.equal(*losses) and len(calls) == 1
    for loss in losses:
        loss.backward()
    assert len(calls) == 2, "the block was computed again"
    for name, vector in given[0].items():
        assert vector.grad is not None and torch.equal(vector.grad, given[1][name].grad)


def test_with_offload_nothing_moves_between_forward_and_backward(
    tiny_sd3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device that is played by float64: a part that is used elsewhere has the wrong type."""
    moves: list[tuple[str, str]] = []

    def move(self: Residence, name: str, device: str) -> None:
        moves.append((name, device))
        self.parts[name].to(torch.float32 if device == "cpu" else torch.float64)

    monkeypatch.setattr(Residence, "_move", move)
    lean, plain = load(tiny_sd3, offload=True), load(tiny_sd3)
    lean.precision = plain.precision = "float64"
    for part in plain.residence.parts.values():
        part.double()
    lean.residence.device = "there"
    lean.encode_image(torch.zeros(1, 3, 64, 64))
    own, expected = leaf(lean), leaf(plain)
    loss = forward(lean, own)
    before = len(moves)
    lean.decode(latent(lean))  # an observer that looks at something in between
    assert [move for move in moves[before:] if move[0] != "vae"] == []
    loss.backward()
    forward(plain, expected).backward()
    for name, vector in own.items():
        assert vector.grad is not None and torch.equal(vector.grad, expected[name].grad)
    with torch.no_grad():
        lean.encode_prompts([lean.tokenize("a cat")])
        assert lean.residence.here == {"clip_l", "clip_g"}
    lean.decode(latent(lean))
    assert lean.residence.here == {"vae"}


def test_a_sampled_latent_is_another_one_and_the_same_every_time(folder: Path) -> None:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    drawn = load(folder, sample_latent=True)
    first = drawn.encode_image(pixels)
    assert torch.equal(first, drawn.encode_image(pixels))
    assert not torch.allclose(first, load(folder).encode_image(pixels), atol=1e-4)


def test_what_a_noise_predictor_predicts_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"model.prediction=velocity is for models that predict noise"):
        load(folder, prediction="velocity")


@pytest.mark.parametrize("way", ["fused", "adapter"])
def test_a_lora_is_in_every_pass(folder: Path, way: str, tmp_path: Path) -> None:
    generator, name = torch.Generator().manual_seed(3), "transformer_blocks.1.attn.to_q"
    plain = load(folder)
    wide = plain.transformer.get_submodule(name).in_features
    down, up = torch.randn(2, wide, generator=generator), torch.randn(wide, 2, generator=generator)
    file = tmp_path / "lora.safetensors"
    save_file({f"transformer.{name}.lora_A.weight": down, f"transformer.{name}.lora_B.weight": up}, file)
    laid = load(folder, lora=str(file), lora_scale=0.5, lora_as=way)
    assert "; with the LoRA lora.safetensors at 0.5" in laid.description and laid.fingerprint != plain.fingerprint
    names = [key for key, _ in laid.transformer.named_parameters()]
    assert names == [key for key, _ in plain.transformer.named_parameters()]
    change = laid.transformer.get_submodule(name).weight - plain.transformer.get_submodule(name).weight
    assert torch.allclose(change, 0.5 * up @ down if way == "fused" else torch.zeros(1), atol=1e-5)
    plain.transformer.get_submodule(name).weight.data += 0.5 * up @ down
    with torch.no_grad():
        own, expected = (
            one.predict(latent(one), torch.tensor([500.0]), one.encode_prompts([one.tokenize("a cat")]))
            for one in (laid, plain)
        )
    assert torch.allclose(own, expected, atol=1e-5)
    with pytest.raises(ModelError, match=r"model.lora=.*; a LoRA belongs to one family"):
        save_file({"transformer.other.lora_A.weight": down, "transformer.other.lora_B.weight": up}, file)
        load(folder, lora=str(file))


def test_the_first_lines_say_what_the_default_was_chosen_on(folder: Path) -> None:
    from uce.core.flow.run_settings import ModelSettings, RunSettings
    from uce.terminal.progress import ModelLine

    config = SimpleNamespace(preset="default", model=ModelSettings(), run=RunSettings(device="cpu"))
    event: Any = SimpleNamespace(config=config)
    (line,) = ModelLine._more(load(folder), event)
    assert line.startswith("preset default was chosen on mini and not tried on real weights; uce doctor --model ")
    config.preset = "paper"
    assert list(ModelLine._more(load(folder), event)) == []
