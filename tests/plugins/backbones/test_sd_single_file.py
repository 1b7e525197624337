"""Single-file checkpoints, checked against models written out in the original layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from original_layout import original_layout
from safetensors.torch import save_file

from uce.core.errors import ModelError

Load = Callable[..., Any]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(params=["sd15", "sd21-base"])
def original(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small model with the real text widths and tensor names, its parts, and configurations to match."""
    from uce.plugins.backbones._sd import single_file

    kind = request.param
    small_configs(tmp_path / "configs")
    monkeypatch.setattr(single_file, "CONFIGS", tmp_path / "configs")
    parts = random_parts(tmp_path / "configs" / kind)
    tensors = original_layout(*parts, open_clip=kind != "sd15")
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    return {"kind": kind, "parts": parts, "tensors": tensors, "path": path}


def small_configs(to: Path) -> Path:
    """The shipped configurations with few channels and layers, and the real text widths."""
    from uce.plugins.backbones._sd import single_file

    shutil.copytree(single_file.CONFIGS, to)
    for folder in to.iterdir():
        edit(folder / "unet" / "config.json", block_out_channels=[32] * 4)
        edit(folder / "vae" / "config.json", block_out_channels=[32] * 4)
        edit(folder / "text_encoder" / "config.json", intermediate_size=8, num_hidden_layers=2, vocab_size=9)
    return to


def random_parts(folder: Path) -> tuple[Any, Any, Any]:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
        return unet, vae, CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder"))


def test_single_files_load_tensor_by_tensor(original: dict[str, Any], load_backbone: Load) -> None:
    loaded = load_backbone(original["path"])
    for part, own in zip((loaded.unet, loaded.vae, loaded.text_encoder), original["parts"], strict=True):
        found, expected = part.state_dict(), own.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    first = original["kind"] == "sd15"
    assert loaded.prediction == "epsilon" and loaded.picture_side == 512
    assert loaded.tokenizer.pad_token_id == (49407 if first else 0)
    assert ("1.x" if first else "2.x") in loaded.description
    assert loaded.word_ids("astronaut", "clip") == [18376]


@pytest.mark.parametrize(
    "said", [{"modelspec.prediction_type": "v"}, {"modelspec.architecture": "stable-diffusion-v2-768-v"}]
)
def test_velocity_is_read_from_metadata(original: dict[str, Any], load_backbone: Load, said: dict[str, str]) -> None:
    save_file(original["tensors"], original["path"], metadata=said)
    loaded = load_backbone(original["path"])
    side = 512 if original["kind"] == "sd15" else 768
    assert (loaded.prediction, loaded.picture_side) == ("v_prediction", side)
    ((key, value),) = said.items()
    assert f"predicts velocity (the file's metadata {key}={value})" in loaded.description


def test_velocity_is_asked_of_the_network(original: dict[str, Any], load_backbone: Load) -> None:
    bias = original["tensors"]["model.diffusion_model.out.2.bias"]
    save_file(original["tensors"] | {"model.diffusion_model.out.2.bias": bias - 3}, original["path"])
    assert load_backbone(original["path"]).prediction == ("epsilon" if original["kind"] == "sd15" else "v_prediction")


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("model.diffusion_model.", "has no unet; give a whole Stable Diffusion checkpoint"),
        ("first_stage_model.", "has no vae; name one with --set model.vae=FILE"),
        ("cond_stage_model.", "has no text_encoder; give"),
        (
            "first_stage_model.decoder.conv_out.bias",
            r"the vae lacks 1 of \d+ tensors \(first: .*\); the file is not whole, or its model",
        ),
        (
            "model.diffusion_model.out.2.bias",
            r"the unet lacks 1 of \d+ tensors \(first: .*\); the file is not whole, or its model",
        ),
        (
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k",
            "is not laid out as Stable Diffusion",
        ),
    ],
)
def test_single_files_that_lack_something(
    original: dict[str, Any], load_backbone: Load, prefix: str, text: str
) -> None:
    kept = {key: value for key, value in original["tensors"].items() if not key.startswith(prefix)}
    save_file(kept, original["path"])
    with pytest.raises(ModelError, match=text):
        load_backbone(original["path"])


def test_single_files_of_other_families(original: dict[str, Any], load_backbone: Load) -> None:
    key = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(original["tensors"] | {key: torch.zeros(32, 9, 3, 3)}, original["path"])
    with pytest.raises(ModelError, match=r"takes 9 input channels \(an inpainting model\)"):
        load_backbone(original["path"])
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    save_file(original["tensors"] | {key: torch.zeros(32, 5)}, original["path"])
    with pytest.raises(ModelError, match=r"reads text states of width 5; Stable Diffusion 1.x has 768, 2.x has 1024"):
        load_backbone(original["path"])
    for key, family in (("joint_blocks.0.x", "Stable Diffusion 3"), ("double_blocks.0.x", "Flux")):
        for prefix in ("", "model.diffusion_model."):
            save_file({prefix + key: torch.zeros(1)}, original["path"])
            with pytest.raises(ModelError, match=rf"is a {family} checkpoint, which cannot be used: uce works with"):
                load_backbone(original["path"])
    save_file({"conditioner.embedders.0.x": torch.zeros(1)}, original["path"])
    assert load_backbone(original["path"]) is None


def test_a_truncated_single_file(original: dict[str, Any], load_backbone: Load) -> None:
    original["path"].write_bytes(original["path"].read_bytes()[:5000])
    with pytest.raises(
        ModelError, match="cannot be loaded: the file is cut off after 5000 bytes, within its header; download it again"
    ):
        load_backbone(original["path"])


def test_the_vocabulary_is_clips() -> None:
    from uce.plugins.backbones._sd.single_file import CONFIGS
    from uce.plugins.backbones._sd.vocabulary import clip_tokenizer

    tokenizer = clip_tokenizer(CONFIGS / "sd15" / "tokenizer")
    expected = [49406, 320, 1125, 539, 320, 2368, 49407]  # known ids of CLIP ViT-L/14
    assert tokenizer("A photo of a cat").input_ids == expected and len(tokenizer) == 49408
    assert tokenizer.model_max_length == 77


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sd15", "sd21-base"])
def test_full_size_single_file(kind: str, tmp_path: Path, load_backbone: Load) -> None:
    from uce.plugins.backbones._sd.single_file import CONFIGS

    parts = tuple(part.half() for part in random_parts(CONFIGS / kind))
    save_file(original_layout(*parts, open_clip=kind != "sd15"), tmp_path / "model.safetensors")
    loaded = load_backbone(tmp_path / "model.safetensors", "bfloat16")
    for part, own in zip((loaded.unet, loaded.text_encoder), (parts[0], parts[2]), strict=True):
        found, expected = part.state_dict(), own.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key].bfloat16()) for key in expected)
