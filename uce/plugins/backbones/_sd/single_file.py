"""Single-file checkpoints of Stable Diffusion 1.x and 2.x, with configurations that ship with us.

No hub is asked: what diffusers would download (configurations, the vocabulary) lies in `configs/` and beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.loading import UNSUPPORTED, Parts, guarded, vae_dtype
from uce.plugins.backbones._sd.vocabulary import clip_tokenizer

CONFIGS = Path(__file__).parent / "configs"
PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.",
}
_OTHERS = {"joint_blocks.": "Stable Diffusion 3", "double_blocks.": "Flux"}  # by what their tensors' names begin with
_NAMES = {
    "sd15": "a Stable Diffusion 1.x checkpoint",
    "sd21-base": "a Stable Diffusion 2.x checkpoint (512 px, epsilon)",
    "sd21": "a Stable Diffusion 2.x checkpoint (768 px, v-prediction)",
}


def load_single_file(model: str, path: Path, precision: str) -> Parts | None:
    """Load a `.safetensors` checkpoint in the original layout; None for one of Stable Diffusion XL.

    Raises:
        ModelError: damaged, a part is missing, or not Stable Diffusion 1.x or 2.x.
    """
    keys, metadata = read_header(path, model)
    if any(key.startswith("conditioner.embedders.") for key in keys):
        return None
    for prefix, family in _OTHERS.items():
        if any(key.removeprefix(PREFIXES["unet"]).startswith(prefix) for key in keys):
            raise ModelError(f"model '{model}' is a {family} checkpoint, {UNSUPPORTED}")
    tensors = read_tensors(path, model)
    kind = detect(tensors, model)
    dtype = resolve_dtype(precision)
    unet = _load_unet(tensors, kind, dtype, model)
    if kind == "sd21-base" and _predicts_velocity(unet, metadata):
        kind = "sd21"
        unet.register_to_config(sample_size=_config(kind, "unet")["sample_size"])
    folder = CONFIGS / kind
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Parts(
        model=model,
        origin=f"{path.name}, {_NAMES[kind]}",
        unet=unet,
        vae=_load_vae(tensors, folder, vae_dtype(dtype), model),
        text_encoder=_load_text_encoder(tensors, folder, dtype, model),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        scheduler=scheduler,
        fingerprint=fingerprint_files([path], [scheduler]),
    )


def read_header(path: Path, model: str) -> tuple[list[str], dict[str, str]]:
    """Names of the tensors, and the metadata, without reading the tensors.

    Raises:
        ModelError: not a safetensors file, or damaged.
    """
    from safetensors import safe_open

    def read() -> tuple[list[str], dict[str, str]]:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys()), dict(file.metadata() or {})

    header: tuple[list[str], dict[str, str]] = guarded(read, model, "file")
    return header


def read_tensors(path: Path, model: str) -> dict[str, Tensor]:
    """Every tensor of the file."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = guarded(lambda: load_file(str(path)), model, "file")
    return tensors


def detect(tensors: Mapping[str, Tensor], model: str) -> str:
    """Which shipped configuration fits, told from the tensors alone.

    Returns:
        "sd15" or "sd21-base" (what a 2.x model predicts cannot be seen in its shapes).

    Raises:
        ModelError: a part is missing, or the shapes are of another family.
    """
    missing = [part for part, prefix in PREFIXES.items() if not any(key.startswith(prefix) for key in tensors)]
    if missing:
        raise ModelError(
            f"model '{model}' has no {' and no '.join(missing)}; "
            "give a whole Stable Diffusion checkpoint (unet, vae and text encoder in one file) or a diffusers folder"
        )
    first = tensors.get("model.diffusion_model.input_blocks.0.0.weight")
    states = tensors.get("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
    if first is None or states is None:
        raise ModelError(f"model '{model}' is not laid out as Stable Diffusion 1.x or 2.x; give a diffusers folder")
    if first.shape[1] != 4:
        raise ModelError(
            f"model '{model}' takes {first.shape[1]} input channels (an inpainting or depth model); "
            "choose the plain text-to-image version, which takes 4"
        )
    kinds = {768: "sd15", 1024: "sd21-base"}
    if states.shape[1] not in kinds:
        raise ModelError(
            f"model '{model}' reads text states of width {states.shape[1]}; Stable Diffusion 1.x has 768, 2.x has 1024"
        )
    return kinds[int(states.shape[1])]


def _config(kind: str, part: str) -> dict[str, Any]:
    value = json.loads((CONFIGS / kind / part / "config.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def _load_unet(tensors: Mapping[str, Tensor], kind: str, dtype: torch.dtype, model: str) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return part_from_file(UNet2DConditionModel, tensors, "unet", CONFIGS / kind, dtype, model)


def _load_vae(tensors: Mapping[str, Tensor], folder: Path, dtype: torch.dtype, model: str) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return part_from_file(AutoencoderKL, tensors, "vae", folder, dtype, model)


def part_from_file(
    cls: Any, tensors: Mapping[str, Tensor], part: str, folder: Path, dtype: torch.dtype, model: str
) -> Any:
    """The "unet" or the "vae", with the configuration in `folder`."""
    own = {key: value for key, value in tensors.items() if key.startswith(PREFIXES[part])}

    def load() -> Any:
        return cls.from_single_file(
            own, config=str(folder), subfolder=part, torch_dtype=dtype, local_files_only=True, low_cpu_mem_usage=True
        )

    return _complete(guarded(load, model, part), part, model)


def _load_text_encoder(tensors: Mapping[str, Tensor], folder: Path, dtype: torch.dtype, model: str) -> Any:
    from transformers.models.clip.modeling_clip import CLIPTextModel

    own = {key: value for key, value in tensors.items() if key.startswith(PREFIXES["text_encoder"])}
    return text_encoder_from_file(CLIPTextModel, own, "text_encoder", folder, dtype, model)


def text_encoder_from_file(
    cls: Any, own: Mapping[str, Tensor], part: str, folder: Path, dtype: torch.dtype, model: str
) -> Any:
    """A text encoder from its own tensors alone, with the configuration in `folder`/`part`."""
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    def load() -> Any:
        return create_diffusers_clip_model_from_ldm(
            cls, own, subfolder=part, config=str(folder), torch_dtype=dtype, local_files_only=True
        )

    return _complete(guarded(load, model, part), part, model)


def _complete(part: Any, name: str, model: str) -> Any:
    missing = [key for key, value in part.named_parameters() if value.is_meta]
    if missing:
        raise ModelError(
            f"model '{model}': the {name} lacks {len(missing)} tensors (first: {missing[0]}); download it again"
        )
    return part


def _predicts_velocity(unet: Any, metadata: Mapping[str, str]) -> bool:
    """Whether a 2.x UNet was trained for v-prediction.

    Shapes do not tell. Where the file's metadata does not either, ask the network: at the last timestep a noise
    predictor gives its input back, a velocity predictor about minus the picture (a test that AUTOMATIC1111's web UI
    made popular).
    """
    said = metadata.get("modelspec.prediction_type") or metadata.get("modelspec.architecture", "")
    if said in ("epsilon", "v", "v_prediction"):
        return said != "epsilon"
    if said.startswith("stable-diffusion-v2"):
        return said.endswith("-v")
    weight = next(unet.parameters())
    sample = torch.full((1, 4, 16, 16), 0.5, dtype=weight.dtype)
    text = torch.full((1, 2, int(unet.config.cross_attention_dim)), 0.5, dtype=weight.dtype)
    with torch.no_grad():
        output = unet(sample, torch.tensor([999]), encoder_hidden_states=text, return_dict=False)[0]
    return float((output - sample).float().mean()) < -1
