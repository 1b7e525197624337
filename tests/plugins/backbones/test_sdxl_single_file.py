"""Single-file checkpoints of Stable Diffusion XL, checked against models written out in the original layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from original_layout import original_layout_xl
from safetensors.torch import save_file

from uce.core.errors import ModelError
from uce.plugins.backbones._sdxl import single_file
from uce.plugins.backbones.stable_diffusion_xl import StableDiffusionXLBackbonePlugin


def load(path: Path, precision: str = "float32") -> Any:
    return StableDiffusionXLBackbonePlugin().uce_load_backbone(str(path), SimpleNamespace(), "cpu", precision)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def random_parts(folder: Path) -> tuple[Any, Any, Any, Any]:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return (
            UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet")),
            AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae")),
            CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder")),
            CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(folder / "text_encoder_2")),
        )


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small model with the real tensor names, its parts, and configurations to match."""
    folder = small_configs(tmp_path / "configs")
    monkeypatch.setattr(single_file, "CONFIGS", folder)
    parts = random_parts(folder)
    tensors = original_layout_xl(*parts)
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    return {"parts": parts, "tensors": tensors, "path": path}


def small_configs(to: Path) -> Path:
    """The shipped configurations with few channels, layers and narrow texts."""
    folder = Path(shutil.copytree(single_file.CONFIGS, to))
    small = {"block_out_channels": [32] * 3, "transformer_layers_per_block": [1, 1, 2], "cross_attention_dim": 16 + 24}
    edit(folder / "unet" / "config.json", **small, projection_class_embeddings_input_dim=6 * 256 + 20)
    edit(folder / "vae" / "config.json", block_out_channels=[32] * 4)
    for part, width in (("text_encoder", 16), ("text_encoder_2", 24)):
        sizes = {"hidden_size": width, "intermediate_size": 8, "projection_dim": 20, "num_attention_heads": 2}
        edit(folder / part / "config.json", **sizes, num_hidden_layers=2)
    return folder


def loaded_parts(backbone: Any) -> tuple[Any, Any, Any, Any]:
    return backbone.unet, backbone.vae, backbone.text_encoder, backbone.text_encoder_2


def test_single_files_load_tensor_by_tensor(original: dict[str, Any]) -> None:
    loaded = load(original["path"])
    for part, own in zip(loaded_parts(loaded), original["parts"], strict=True):
        found, expected = part.state_dict(), own.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert (loaded.prediction, loaded.picture_side, loaded.latent_side) == ("epsilon", 1024, 128)
    assert loaded.tokenizer.pad_token_id == 49407 and loaded.tokenizer_2.pad_token_id == 0
    assert "Stable Diffusion XL checkpoint" in loaded.description
    assert loaded.word_ids("astronaut", "clip_g") == [18376]


def test_a_single_file_round_trip_gives_the_folders_predictions(original: dict[str, Any]) -> None:
    """Saved as a diffusers folder by diffusers itself, the model says the same."""
    from_file = load(original["path"])
    folder = original["path"].parent / "folder"
    from_file.pipeline().save_pretrained(folder)
    from_folder = load(folder)
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (
            one.predict(noisy, torch.tensor([10]), one.encode_prompts([one.tokenize("a photo of a cat")]))
            for one in (from_file, from_folder)
        )
    assert torch.allclose(first, second, atol=1e-5), "sums may differ in their last bit"
    for part, other in zip(loaded_parts(from_file), loaded_parts(from_folder), strict=True):
        expected = part.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("extra", "metadata", "prediction", "zero_snr"),
    [
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction", None),
        ({"v_pred": torch.zeros(0)}, {}, "v_prediction", None),
        ({"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {}, "v_prediction", True),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon", None),
    ],
)
def test_velocity_is_read_from_what_files_say(
    original: dict[str, Any], extra: Any, metadata: Any, prediction: str, zero_snr: bool | None
) -> None:
    save_file(original["tensors"] | extra, original["path"], metadata=metadata)
    loaded = load(original["path"])
    assert loaded.prediction == prediction and loaded.scheduler_config.get("rescale_betas_zero_snr") == zero_snr


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("model.diffusion_model.", "has no unet; give a whole Stable Diffusion XL checkpoint"),
        ("first_stage_model.", "has no vae; name one with --set model.vae=FILE"),
        ("conditioner.embedders.0.", "has no text_encoder; give"),
        ("conditioner.embedders.1.", "has no text_encoder_2; give"),
        ("conditioner.embedders.1.model.text_projection", r"the text_encoder_2 lacks 1 of \d+ tensors"),
        (
            "first_stage_model.decoder.conv_out.bias",
            r"the vae lacks 1 of \d+ tensors \(first: .*\); the file is not whole, or its model",
        ),
        (
            "model.diffusion_model.out.2.bias",
            r"the unet lacks 1 of \d+ tensors \(first: .*\); the file is not whole, or its model",
        ),
        (
            "model.diffusion_model.label_emb.",
            r"the unet lacks 4 of \d+ tensors \(first: .*\); the file is not whole, or its model",
        ),
    ],
)
def test_single_files_that_lack_something(original: dict[str, Any], prefix: str, text: str) -> None:
    kept = {key: value for key, value in original["tensors"].items() if not key.startswith(prefix)}
    save_file(kept, original["path"])
    with pytest.raises(ModelError, match=text):
        load(original["path"])


def test_relatives_that_cannot_be_used_are_named(original: dict[str, Any]) -> None:
    key = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(original["tensors"] | {key: torch.zeros(32, 9, 3, 3)}, original["path"])
    with pytest.raises(ModelError, match=r"takes 9 input channels \(an inpainting model\)"):
        load(original["path"])
    save_file(original["tensors"] | {"edm_mean": torch.zeros(4)}, original["path"])
    with pytest.raises(
        ModelError, match=r"a model with the EDM noise schedule \(Playground v2.5\), which cannot be used"
    ):
        load(original["path"])
    second = "conditioner.embedders.1."
    refiner = {
        key.replace(second, "conditioner.embedders.0."): value
        for key, value in original["tensors"].items()
        if not key.startswith("conditioner.embedders.0.")
    }
    save_file(refiner, original["path"])
    with pytest.raises(ModelError, match="is the refiner of Stable Diffusion XL, which cannot be used; give the base"):
        load(original["path"])


def test_files_of_other_families_are_left_to_others(tmp_path: Path) -> None:
    save_file({"cond_stage_model.x": torch.zeros(1)}, tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors") is None


def test_a_truncated_single_file(original: dict[str, Any]) -> None:
    original["path"].write_bytes(original["path"].read_bytes()[:5000])
    with pytest.raises(
        ModelError, match="cannot be loaded: the file is cut off after 5000 bytes, within its header; download it again"
    ):
        load(original["path"])


def test_published_sizes() -> None:
    """Parameters of the published model (the paper says 2.6 billion for the UNet, 817 million for the text)."""
    with torch.device("meta"):
        unet, vae, first, second = random_parts(single_file.CONFIGS)
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (unet, vae, first, second)]
    assert counts == [2_567_463_684, 83_653_863, 123_060_480, 694_659_840]
