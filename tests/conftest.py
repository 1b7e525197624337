"""Tiny Stable-Diffusion-shaped pipelines with random weights, made once per session, and the oracles' folder."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest

# Tiny models run several times faster on one thread, above all beside other work on the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

WORDS = ["a", "photo", "of", "picture", "and", "cat", "dog", "red", "blue", "cup", "on", "the", "asset"]
ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles"


# The same examples every time, whatever failed before; tests/fuzz has seeds of its own.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test begins with the same random numbers, its fixtures of whatever scope included."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of oracle numbers; tests that need it are skipped where it is missing."""
    if not ORACLES.is_dir():
        pytest.skip("../shared/oracles is missing: no reference numbers to compare with")
    return ORACLES


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: (exit code, stdout, stderr)."""

    from uce.cli import main

    def call(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return int(ended.value.code or 0), streams.out, streams.err

    return call


@pytest.fixture(scope="session")
def make_tiny_pipeline() -> Callable[..., Path]:
    """`make(folder, kind)` writes a diffusers folder: kind "sd1" (end-of-text padding, epsilon) or "sd2" ("!" padding,
    v-prediction). 64-pixel pictures, 4 x 16 x 16 latents, attention at 16, 8 and 4; "sdxl" has attention at 8 and 4."""
    return _write_pipeline


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like Stable Diffusion 1.x: padded with end-of-text, epsilon."""
    return _write_pipeline(tmp_path_factory.mktemp("tiny-sd1") / "model", "sd1")


@pytest.fixture(scope="session")
def tiny_pipeline_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like Stable Diffusion 2.x: padded with "!", v-prediction."""
    return _write_pipeline(tmp_path_factory.mktemp("tiny-sd2") / "model", "sd2")


@pytest.fixture(scope="session")
def tiny_pipeline_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like Stable Diffusion XL: two text encoders, pooled text and sizes, epsilon."""
    return _write_pipeline(tmp_path_factory.mktemp("tiny-sdxl") / "model", "sdxl")


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like FLUX.1 dev: packed latents, T5 and a summary of CLIP, an embedded guidance."""
    from tiny_transformers import write_flux

    return write_flux(tmp_path_factory.mktemp("tiny-flux") / "model")


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder shaped like Stable Diffusion 3.5 medium: two CLIPs and T5, norms, a block with a second attention."""
    from tiny_transformers import write_sd3

    return write_sd3(tmp_path_factory.mktemp("tiny-sd3") / "model", newer=True)


@pytest.fixture(scope="session")
def load_backbone() -> Callable[..., Any]:
    """`load(model, precision="float32", **settings)` through the built-in plugin's own hook."""
    return _load


@pytest.fixture(scope="session")
def tiny_backbone(tiny_pipeline: Path) -> Any:
    return _load(tiny_pipeline)


@pytest.fixture(scope="session")
def tiny_backbone_v(tiny_pipeline_v: Path) -> Any:
    return _load(tiny_pipeline_v)


def _load(model: Any, precision: str = "float32", device: str = "cpu", **settings: Any) -> Any:
    from uce.plugins.backbones.stable_diffusion import StableDiffusionBackbonePlugin

    return StableDiffusionBackbonePlugin().uce_load_backbone(str(model), SimpleNamespace(**settings), device, precision)


def _write_pipeline(folder: Path, kind: str) -> Path:
    if kind == "sdxl":
        return _write_xl_pipeline(folder)
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    second = kind == "sd2"
    size = write_tokenizer(folder / "tokenizer", "!" if second else "<|endoftext|>")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2 if second else 1)
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=16,
            attention_head_dim=[1, 2, 2] if second else 2,
            use_linear_projection=second,
            down_block_types=("CrossAttnDownBlock2D",) * 3,
            up_block_types=("CrossAttnUpBlock2D",) * 3,
        )
        vae = AutoencoderKL(**_TINY_VAE)
        text = CLIPTextModel(CLIPTextConfig(**_tiny_text(size, 16, size - 1)))
        _sharpen(unet, text)
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    text.save_pretrained(folder / "text_encoder")
    prediction = "v_prediction" if second else "epsilon"
    write_json(folder / "scheduler" / "scheduler_config.json", {**_TINY_SCHEDULER, "prediction_type": prediction})
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
    index: dict[str, Any] = {part: ["diffusers", name] for part, name in parts.items()}
    index |= {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"]}
    none = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", **index, **none})
    return folder


def _write_xl_pipeline(folder: Path) -> Path:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    size = write_tokenizer(folder / "tokenizer", "<|endoftext|>")
    write_tokenizer(folder / "tokenizer_2", "!")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=16 + 24,
            attention_head_dim=[1, 2, 2],
            transformer_layers_per_block=[1, 1, 2],
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 20,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        )
        vae = AutoencoderKL(**_TINY_VAE, force_upcast=True)
        texts = (
            CLIPTextModel(CLIPTextConfig(**_tiny_text(size, 16, 2))),
            CLIPTextModelWithProjection(CLIPTextConfig(**_tiny_text(size, 24, 2), hidden_act="gelu")),
        )
        _sharpen(unet, *texts)
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    texts[0].save_pretrained(folder / "text_encoder")
    texts[1].save_pretrained(folder / "text_encoder_2")
    scheduler = {**_TINY_SCHEDULER, "prediction_type": "epsilon", "timestep_spacing": "leading"}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler | {"_class_name": "EulerDiscreteScheduler"})
    index: dict[str, Any] = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    index |= {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    write_json(folder / "model_index.json", index)
    return folder


_TINY_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
_TINY_VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "norm_num_groups": 4,
    "sample_size": 64,
    "scaling_factor": 0.5,
}


def _tiny_text(size: int, width: int, end: int) -> dict[str, Any]:
    """A text encoder's configuration; `end` 2 is what the published configurations of 1.x and XL say."""
    return {
        "vocab_size": size,
        "hidden_size": width,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 20,
        "bos_token_id": size - 2,
        "eos_token_id": end,
        "pad_token_id": 0,
    }


def _sharpen(unet: Any, *texts: Any) -> None:
    """Random projections alone attend almost evenly, and random embeddings hardly differ."""
    import torch

    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight")):
                weight.mul_(4)
        for text in texts:
            text.get_input_embeddings().weight.mul_(20)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_tokenizer(folder: Path, pad: str) -> int:
    """A byte-pair tokenizer of CLIP's kind that knows `WORDS` and single letters; returns its vocabulary's size."""
    from uce.plugins.backbones._sd.vocabulary import _byte_letters

    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[str] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merge = f"{pieces[0]} {pieces[1]}"
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
            if merge not in merges:
                merges.append(merge)
            if pieces[0] not in tokens:
                tokens.append(pieces[0])
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    write_json(
        folder / "tokenizer_config.json",
        {**special, "pad_token": pad, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"},
    )
    return len(tokens)
