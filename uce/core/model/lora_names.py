"""Trained weights of a run as files that other programs load.

A run names LoRA matrices as diffusers does: "unet.<module>.lora.down.weight" (rank, inputs) and ".lora.up.weight"
(outputs, rank). AUTOMATIC1111, Forge and ComfyUI share another naming, in which dots become underscores and the
strength is stored as alpha: a product counts alpha / rank times, so that alpha is the rank here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from uce.core.model.tuning import (
    LORA_DOWN,
    LORA_UP,
    PREFIX,
    TRANSFORMER_DOWN,
    TRANSFORMER_PREFIX,
    TRANSFORMER_UP,
)

if TYPE_CHECKING:
    from torch import Tensor


def is_lora(weights: Mapping[str, Tensor]) -> bool:
    """Whether all of it is LoRA matrices, and none replaces the model's own tensors."""
    return all(is_lora_name(name) for name in weights)


def is_lora_name(name: str) -> bool:
    """Whether a run's tensor of this name is a LoRA matrix, of a UNet or of a transformer."""
    of_unet = name.startswith(PREFIX) and name.endswith((LORA_DOWN, LORA_UP))
    return of_unet or (name.startswith(TRANSFORMER_PREFIX) and name.endswith((TRANSFORMER_DOWN, TRANSFORMER_UP)))


_KINDS = {
    (768,): ("sd_v1", "stable-diffusion-v1", "False"),
    (1024,): ("sd_v2", "stable-diffusion-v2-512", "True"),
    (768, 1280): ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "False"),
}


def lora_header(weights: Mapping[str, Tensor], widths: Sequence[int], title: str) -> dict[str, str]:
    """What web UIs read of a LoRA to tell for which kind of model it is: sd-scripts' names and those of modelspec.

    Args:
        widths: of the text encoders' vectors, in order; other kinds than Stable Diffusion's give nothing.
    """
    if tuple(widths) not in _KINDS:
        return {}
    base, architecture, second = _KINDS[tuple(widths)]
    rank = str(next(int(value.shape[0]) for name, value in weights.items() if name.endswith(LORA_DOWN)))
    return {
        "ss_base_model_version": base,
        "ss_v2": second,
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_output_name": title,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": title,
    }


def underscored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LoRA matrices under the names that AUTOMATIC1111, Forge and ComfyUI read.

    Those of a transformer keep diffusers' names, which Forge and ComfyUI read as they are.

    Args:
        weights: for which `is_lora` holds.
    """
    import torch

    if any(name.startswith(TRANSFORMER_PREFIX) for name in weights):
        return dict(weights)
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        module = name.removeprefix(PREFIX).removesuffix(LORA_DOWN).removesuffix(LORA_UP)
        layer = f"lora_unet_{module.replace('.', '_')}"
        if name.endswith(LORA_DOWN):
            found[f"{layer}.lora_down.weight"] = value
            found[f"{layer}.alpha"] = torch.tensor(float(value.shape[0]))
        else:
            found[f"{layer}.lora_up.weight"] = value
    return found
