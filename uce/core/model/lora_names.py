"""Trained weights of a run as files that other programs load.

A run names LoRA matrices as diffusers does: "unet.<module>.lora.down.weight" (rank, inputs) and ".lora.up.weight"
(outputs, rank). AUTOMATIC1111, Forge and ComfyUI share another naming, in which dots become underscores and the
strength is stored as alpha: a product counts alpha / rank times, so that alpha is the rank here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from uce.core.model.tuning import LORA_DOWN, LORA_UP, PREFIX

if TYPE_CHECKING:
    from torch import Tensor


def is_lora(weights: Mapping[str, Tensor]) -> bool:
    """Whether all of it is LoRA matrices, and none replaces the model's own tensors."""
    return all(name.startswith(PREFIX) and name.endswith((LORA_DOWN, LORA_UP)) for name in weights)


def underscored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LoRA matrices under the names that AUTOMATIC1111, Forge and ComfyUI read.

    Args:
        weights: for which `is_lora` holds.
    """
    import torch

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
