"""Trained weights of a run as files that other programs load.

A run names LoRA matrices as diffusers does: "unet.<module>.lora.down.weight" (rank, inputs) and ".lora.up.weight"
(outputs, rank). AUTOMATIC1111, Forge and ComfyUI share another naming, in which dots become underscores and the
strength is stored as alpha: a product counts alpha / rank times, so that alpha is the rank here.
"""

from __future__ import annotations

from collections.abc import Mapping
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
