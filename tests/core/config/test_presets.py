"""The named configurations hold what they promise."""

from __future__ import annotations

import pytest

from uce.core.config.presets import PRESETS
from uce.core.config.resolving import resolve_config
from uce.core.registry.manager import load_manager


@pytest.mark.parametrize("preset", PRESETS)
def test_it_resolves(preset: str) -> None:
    assert resolve_config(load_manager(), preset=preset).preset == preset


def test_paper_is_the_built_ins_at_their_own_defaults() -> None:
    config = resolve_config(load_manager(), preset="paper")
    for choice in config.choices:
        assert choice.settings == choice.plugin.settings_class(), choice.plugin.name
    assert [choice.plugin.name for choice in config.choices] == [
        "self-attention", "none", "finch", "saliency", "merge", "split-merge", "masked-denoising",
    ]  # fmt: skip
