"""From what the user named to the loaded parts of a Stable Diffusion XL model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.loading import (
    Parts,
    load_part,
    load_tokenizer,
    locate,
    read_json,
    vae_dtype,
    weight_files,
)

PIPELINE = "StableDiffusionXLPipeline"
_WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}


@dataclass(frozen=True, eq=False)
class XLParts(Parts):
    """A loaded model, still on the CPU.

    Attributes:
        zero_empty: classifier-free guidance leads away from zeros instead of from the empty text.
    """

    text_encoder_2: Any
    tokenizer_2: Any
    zero_empty: bool


def load_xl_parts(model: str, settings: Any, precision: str) -> XLParts | None:
    """Find and load `model`; None where it is no Stable Diffusion XL, or nothing at all: others say what is wrong.

    Raises:
        ModelError: a part of the model is missing or damaged, or the hub cannot be asked.
    """
    try:
        place = locate(model)
    except ModelError:
        return None
    variant = getattr(settings, "variant", None)
    if isinstance(place, str):
        from uce.plugins.backbones._sd.hub import fetch

        revision = getattr(settings, "revision", None)
        if not _is_xl(fetch(place, revision, variant, index_only=True)):
            return None
        place = fetch(place, revision, variant)
    if place.is_dir():
        return load_xl_folder(model, place, variant, precision) if _is_xl(place) else None
    from uce.plugins.backbones._sdxl.single_file import load_xl_file

    return load_xl_file(model, place, precision)


def _is_xl(folder: Path) -> bool:
    """Whether a folder's model_index.json names the text-to-image pipeline of XL."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.get("_class_name") == PIPELINE


def load_xl_folder(model: str, folder: Path, variant: str | None, precision: str) -> XLParts:
    """Load a diffusers folder, part by part, so that an error can say which part is at fault.

    Raises:
        ModelError: a part is missing or damaged.
    """
    index = read_json(folder / "model_index.json", model, "model_index.json")
    files = {part: weight_files(folder / part, stem, variant, model) for part, stem in _WEIGHTS.items()}
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", model, "the scheduler")
    configs = [read_json(folder / part / "config.json", model, f"the {part}") for part in _WEIGHTS]
    zero_empty = bool(index.get("force_zeros_for_empty_prompt", True))

    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    dtype = resolve_dtype(precision)
    return XLParts(
        model=model,
        origin=f"{model}, a Stable Diffusion XL model",
        unet=load_part(UNet2DConditionModel, folder / "unet", variant, dtype, model),
        vae=load_part(AutoencoderKL, folder / "vae", variant, vae_dtype(dtype), model),
        text_encoder=load_part(CLIPTextModel, folder / "text_encoder", variant, dtype, model),
        text_encoder_2=load_part(CLIPTextModelWithProjection, folder / "text_encoder_2", variant, dtype, model),
        tokenizer=load_tokenizer(folder / "tokenizer", model),
        tokenizer_2=load_tokenizer(folder / "tokenizer_2", model),
        scheduler=scheduler,
        zero_empty=zero_empty,
        fingerprint=fingerprint_files(
            [file for found in files.values() for file in found], [*configs, scheduler, {"zero_empty": zero_empty}]
        ),
    )
