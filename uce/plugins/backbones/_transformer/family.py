"""Which family a model is of, told before any weights are read; what is of none that works is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

from uce.core import ModelError

FLUX, SD3 = "FluxPipeline", "StableDiffusion3Pipeline"
WORKS = (
    "uce works with Stable Diffusion 1.x, 2.x, XL, 3 and 3.5 and with FLUX.1; give one of those, or install a backbone "
    "plugin for it"
)
OTHERS = {
    "PixArtAlphaPipeline": "PixArt-Alpha",
    "PixArtSigmaPipeline": "PixArt-Sigma",
    "SanaPipeline": "Sana",
    "ZImagePipeline": "Z-Image",
    "QwenImagePipeline": "Qwen-Image",
    "Flux2Pipeline": "FLUX.2",
    "FluxFillPipeline": "FLUX.1 Fill (inpainting)",
    "FluxKontextPipeline": "FLUX.1 Kontext (editing)",
    "FluxControlPipeline": "FLUX.1 Control (depth or edges)",
    "ChromaPipeline": "Chroma",
    "AuraFlowPipeline": "AuraFlow",
    "LuminaPipeline": "Lumina",
    "Lumina2Pipeline": "Lumina 2",
    "HiDreamImagePipeline": "HiDream",
    "HunyuanDiTPipeline": "Hunyuan-DiT",
    "CogView4Pipeline": "CogView4",
}
"""Transformers that people draw with and that need a backbone of their own."""


def pipeline_of(folder: Path) -> str | None:
    """The pipeline that a diffusers folder names; None where it names none (others say what is wrong with it)."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = index.get("_class_name") if isinstance(index, dict) else None
    return name if isinstance(name, str) else None


def require_known(pipeline: str | None, model: str) -> None:
    """Refuse the transformers that no backbone here understands.

    Raises:
        ModelError: `pipeline` is one of them.
    """
    if pipeline in OTHERS:
        raise ModelError(f"model '{model}' is {OTHERS[pipeline]}, which cannot be used: {WORKS}")


def require_no_gguf(model: str) -> None:
    """Refuse quantised files of llama.cpp's kind.

    Raises:
        ModelError: it is one.
    """
    if model.lower().endswith(".gguf"):
        raise ModelError(
            f"model '{model}' is a GGUF file, whose rounded weights cannot be learned with; give the same model as "
            ".safetensors (fp8 works, too) or as a diffusers folder"
        )
