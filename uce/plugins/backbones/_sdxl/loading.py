"""From what the user named to the loaded parts of a Stable Diffusion XL model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd import prediction
from uce.plugins.backbones._sd.extras import find_vae, with_extras
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.hub import fetch
from uce.plugins.backbones._sd.loading import XL_PIPELINES, FolderReader, load_tokenizer, read_json
from uce.plugins.backbones._sd.parts import describe, vae_dtype
from uce.plugins.backbones._sd.place import Repository, locate
from uce.plugins.backbones._sdxl.parts import XLParts
from uce.plugins.backbones._sdxl.single_file import CONFIGS, load_xl_file

_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


def load_xl_parts(model: str, settings: Any, precision: str) -> XLParts | None:
    """Find and load `model`; None where it is no Stable Diffusion XL, or nothing at all: others say what is wrong.

    Raises:
        ModelError: a part of the model is missing or damaged, or the hub cannot be asked.
    """
    try:
        place = locate(model, settings)
    except ModelError:
        return None
    variant = getattr(settings, "variant", None)
    if isinstance(place, Repository):
        if place.file is None and not _is_xl(fetch(place, variant, index_only=True)):
            return None
        place = fetch(place, variant)
    if place.is_dir():
        return load_xl_folder(model, place, settings, precision) if _is_xl(place) else None
    return load_xl_file(model, place, settings, precision)


def _is_xl(folder: Path) -> bool:
    """Whether a folder's model_index.json names a pipeline of XL."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.get("_class_name") in XL_PIPELINES


def load_xl_folder(model: str, folder: Path, settings: Any, precision: str) -> XLParts:
    """Load a diffusers folder, part by part, so that an error can say which part is at fault.

    Raises:
        ModelError: a part is missing or damaged.
    """
    index = read_json(folder / "model_index.json", model, "model_index.json")
    if not (folder / "text_encoder").is_dir() and (folder / "text_encoder_2").is_dir():
        raise ModelError(f"model '{model}' is the refiner of Stable Diffusion XL, which cannot be used; give the base")
    vae_place = find_vae(settings)
    read = FolderReader(model, folder, settings, [part for part in _PARTS if part != "vae" or vae_place is None])
    scheduler, found = read.scheduler()
    zero_empty = bool(index.get("force_zeros_for_empty_prompt", True))

    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    dtype = resolve_dtype(precision)
    few = prediction.few_steps(Path(model).name, {}, scheduler)
    parts = XLParts(
        model=model,
        origin=describe(f"{model}, a Stable Diffusion XL model", found, few, read.note),
        unet=read.part(UNet2DConditionModel, "unet", dtype),
        vae=read.part(AutoencoderKL, "vae", vae_dtype(dtype)) if vae_place is None else None,
        text_encoder=read.part(CLIPTextModel, "text_encoder", dtype),
        text_encoder_2=read.part(CLIPTextModelWithProjection, "text_encoder_2", dtype),
        tokenizer=load_tokenizer(folder / "tokenizer", model),
        tokenizer_2=load_tokenizer(folder / "tokenizer_2", model),
        scheduler=scheduler,
        zero_empty=zero_empty,
        fingerprint=fingerprint_files(read.files, [*read.configs.values(), scheduler, {"zero_empty": zero_empty}]),
        few_steps=few,
    )
    own = folder / "vae"
    done: XLParts = with_extras(parts, settings, vae_place, own if own.is_dir() else CONFIGS / "vae", dtype)
    return done
