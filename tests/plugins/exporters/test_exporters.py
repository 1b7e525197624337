"""What every built-in exporter must be; tests/test_tokens.py tests what they write."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uce.core.hookspecs import SELECTED_HOOKS, STAGE_HOOKS
from uce.core.model.lora_names import is_lora, underscored
from uce.core.registry.manager import load_manager
from uce.plugins.exporters.a1111 import A1111Exporter
from uce.plugins.exporters.comfyui import ComfyUIExporter
from uce.plugins.exporters.diffusers import DiffusersExporter
from uce.plugins.exporters.hub_folder import HubFolderExporter
from uce.testing import check_plugin


@pytest.mark.parametrize("kind", [DiffusersExporter, A1111Exporter, ComfyUIExporter, HubFolderExporter])
def test_contract(kind: Any) -> None:
    info = check_plugin(kind)
    assert info.stages == ("exporter",) and info.summary.endswith(".")
    assert info.settings_class(weights=False).model_dump()["weights"] is False


def test_exporters_are_selected_by_name_and_are_no_stage() -> None:
    assert set(load_manager().available("exporter")) == {"a1111", "comfyui", "diffusers", "hub-folder"}
    assert SELECTED_HOOKS["exporter"] == "uce_export" and "exporter" not in STAGE_HOOKS


def test_lora_names() -> None:
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
    weights = {f"{layer}.lora.down.weight": torch.ones(4, 8), f"{layer}.lora.up.weight": torch.ones(6, 4)}
    assert is_lora(weights) and not is_lora({**weights, "unet.conv_in.weight": torch.ones(1)})
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"
    found = underscored(weights)
    assert set(found) == {f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.alpha"}
    assert float(found[f"{name}.alpha"]) == 4 and found[f"{name}.alpha"].ndim == 0
