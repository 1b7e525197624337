"""`model.lora`: a LoRA laid into a model's weights, so that everything that is learned is learned on top of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from uce.core import ModelError
from uce.plugins.backbones._sd.files import read_header
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.kinds import kind_of
from uce.plugins.backbones._sd.parts import guarded

_DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", ".lora_linear_layer.down.weight",
         "_lora.down.weight")  # fmt: skip


def with_lora(parts: Any, file: Path, scale: float) -> Any:
    """`parts` with a LoRA fused into UNet and text encoders; every layer of the file must find its place.

    Args:
        file: a .safetensors file in the layout of kohya's scripts, of peft or of diffusers.
        scale: 1 as it was trained, 0 without effect.

    Raises:
        ModelError: no LoRA, or one for another family.
    """
    who = f"model.lora={file}"
    kind = kind_of(read_header(file, who).shapes)
    if kind is None or kind.id != "lora":
        advice = f": {kind.advice}" if kind and kind.id == "lycoris" else "; give a LoRA"
        raise ModelError(f"{who} is {kind.name if kind else 'no LoRA'}{advice}")
    tensors = guarded(lambda: load_file(str(file)), who, "file")
    wanted = sum(name.endswith(_DOWN) for name in tensors)
    pipe = _pipeline(parts)
    try:
        guarded(lambda: pipe.load_lora_weights(tensors, adapter_name="given"), who, "LoRA")
    except ModelError as error:
        raise ModelError(
            f"{who} does not fit model '{parts.model}' ({_reason(error)}); a LoRA belongs to one family: Stable "
            "Diffusion 1.x, 2.x or XL"
        ) from error
    found = sum(_layers(part) for part in pipe.components.values())
    if found != wanted:
        raise ModelError(
            f"{who} has {wanted} layers and {found} of them find a place in model '{parts.model}'; a LoRA belongs to "
            "one family: Stable Diffusion 1.x, 2.x or XL"
        )
    guarded(lambda: pipe.fuse_lora(components=_loaded(pipe), lora_scale=scale), who, "LoRA")
    pipe.unload_lora_weights()
    return dataclasses.replace(
        parts,
        origin=f"{parts.origin}; with the LoRA {file.name} at {scale:g}",
        fingerprint=fingerprint_files([file], [{"model": parts.fingerprint, "scale": scale}]),
    )


def _pipeline(parts: Any) -> Any:
    """diffusers' pipeline around the parts: it knows the layouts of LoRAs and where their layers belong."""
    import diffusers

    from uce.plugins.backbones._sd.pipeline import own_scheduler
    from uce.plugins.backbones._sd.quiet import quiet_libraries

    shared = {name: getattr(parts, name) for name in ("unet", "vae", "text_encoder", "tokenizer")}
    shared["scheduler"] = own_scheduler(parts.scheduler)
    with quiet_libraries():
        if hasattr(parts, "text_encoder_2"):
            second = {"text_encoder_2": parts.text_encoder_2, "tokenizer_2": parts.tokenizer_2}
            return diffusers.StableDiffusionXLPipeline(**shared, **second, add_watermarker=False)
        return diffusers.StableDiffusionPipeline(
            **shared, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )


def _layers(part: Any) -> int:
    """How many layers of a part the LoRA changes."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    return sum(isinstance(module, BaseTunerLayer) for module in part.modules()) if isinstance(part, nn.Module) else 0


def _loaded(pipe: Any) -> list[str]:
    return [name for name, part in pipe.components.items() if _layers(part)]


def _reason(error: ModelError) -> str:
    text = str(error.__cause__ or error)
    return " ".join(text.split())[:120]
