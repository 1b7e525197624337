"""LoRA matrices under the names of web UIs."""

from __future__ import annotations

import torch

from uce.core.model.lora_names import is_lora, underscored
from uce.core.model.tuning import LORA_DOWN, LORA_UP, PREFIX

MODULE = "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_q"


def test_names_and_strength() -> None:
    down, up = torch.ones(4, 8), torch.ones(16, 4)
    found = underscored({f"{PREFIX}{MODULE}{LORA_DOWN}": down, f"{PREFIX}{MODULE}{LORA_UP}": up})
    layer = "lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn2_to_q"
    assert found.keys() == {f"{layer}.lora_down.weight", f"{layer}.lora_up.weight", f"{layer}.alpha"}
    assert found[f"{layer}.alpha"] == 4, "alpha is the rank: the product counts once"
    assert found[f"{layer}.lora_down.weight"] is down and found[f"{layer}.lora_up.weight"] is up


def test_what_replaces_weights_is_no_lora() -> None:
    matrices = {f"{PREFIX}{MODULE}{LORA_DOWN}": torch.ones(4, 8)}
    assert is_lora(matrices) and is_lora({})
    assert not is_lora({**matrices, f"{PREFIX}{MODULE}.weight": torch.ones(1)})
    assert not is_lora({f"text_encoder.{MODULE}{LORA_DOWN}": torch.ones(1)})
