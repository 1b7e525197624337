"""Single-file checkpoints of Stable Diffusion XL, with configurations that ship with us."""

from __future__ import annotations

import json
from pathlib import Path

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.loading import vae_dtype
from uce.plugins.backbones._sd.single_file import (
    PREFIXES,
    part_from_file,
    read_header,
    read_tensors,
    text_encoder_from_file,
)
from uce.plugins.backbones._sd.vocabulary import clip_tokenizer
from uce.plugins.backbones._sdxl.loading import XLParts

CONFIGS = Path(__file__).parent / "configs"
_FIRST, _SECOND = "conditioner.embedders.0.", "conditioner.embedders.1."
_VELOCITY, _ZERO_SNR = "v_pred", "ztsnr"  # empty tensors by which fine-tuned models say how they were trained


def load_xl_file(model: str, path: Path, precision: str) -> XLParts | None:
    """Load a `.safetensors` checkpoint in the original layout; None for one of another family.

    Raises:
        ModelError: damaged, a part is missing, or a refiner or inpainting model.
    """
    keys, metadata = read_header(path, model)
    if not any(key.startswith("conditioner.embedders.") for key in keys):
        return None
    _require_parts(keys, model)
    tensors = read_tensors(path, model)
    channels = tensors[f"{PREFIXES['unet']}input_blocks.0.0.weight"].shape[1]
    if channels != 4:
        raise ModelError(
            f"model '{model}' takes {channels} input channels (an inpainting model); choose the plain text-to-image "
            "version, which takes 4"
        )
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    dtype = resolve_dtype(precision)
    first, second = ({k: v for k, v in tensors.items() if k.startswith(prefix)} for prefix in (_FIRST, _SECOND))
    scheduler = json.loads((CONFIGS / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if _VELOCITY in keys or metadata.get("modelspec.prediction_type") in ("v", "v_prediction"):
        scheduler |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": _ZERO_SNR in keys}
    if "edm_mean" in keys:
        scheduler["sigma_data"] = 0.5  # the backbone refuses that schedule, here as in folders
    return XLParts(
        model=model,
        origin=f"{path.name}, a Stable Diffusion XL checkpoint",
        unet=part_from_file(UNet2DConditionModel, tensors, "unet", CONFIGS, dtype, model),
        vae=part_from_file(AutoencoderKL, tensors, "vae", CONFIGS, vae_dtype(dtype), model),
        text_encoder=text_encoder_from_file(CLIPTextModel, first, "text_encoder", CONFIGS, dtype, model),
        text_encoder_2=text_encoder_from_file(
            CLIPTextModelWithProjection, second, "text_encoder_2", CONFIGS, dtype, model
        ),
        tokenizer=clip_tokenizer(CONFIGS / "tokenizer"),
        tokenizer_2=clip_tokenizer(CONFIGS / "tokenizer_2"),
        scheduler=scheduler,
        zero_empty=True,
        fingerprint=fingerprint_files([path], [scheduler]),
    )


def _require_parts(keys: list[str], model: str) -> None:
    prefixes = {
        "unet": f"{PREFIXES['unet']}input_blocks.0.0.weight",
        "vae": PREFIXES["vae"],
        "text_encoder": f"{_FIRST}transformer.",
        "text_encoder_2": f"{_SECOND}model.",
    }
    missing = [part for part, prefix in prefixes.items() if not any(key.startswith(prefix) for key in keys)]
    if not missing:
        return
    if any(key.startswith(f"{_FIRST}model.") for key in keys):
        raise ModelError(f"model '{model}' is the refiner of Stable Diffusion XL, which cannot be used; give the base")
    raise ModelError(
        f"model '{model}' has no {' and no '.join(missing)}; give a whole Stable Diffusion XL checkpoint (unet, vae "
        "and both text encoders in one file) or a diffusers folder"
    )
