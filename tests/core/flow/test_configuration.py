"""The resolved configuration as data: its document resolves to itself."""

from __future__ import annotations

import pytest
import yaml

from uce.core.config.presets import PRESETS
from uce.core.config.resolving import resolve_config
from uce.core.registry.manager import load_manager


@pytest.mark.parametrize("preset", PRESETS)
def test_the_document_resolves_to_the_same(preset: str) -> None:
    manager = load_manager()
    config = resolve_config(manager, preset=preset, assignments=["optimizer.steps=3", "run.seed=7"])
    document = yaml.safe_load(yaml.safe_dump(config.to_dict()))
    assert resolve_config(manager, document=document).to_dict() == config.to_dict()
    assert config.to_dict()["optimizer"]["steps"] == 3 and config.to_dict()["run"]["seed"] == 7


def test_choices_are_in_the_order_of_the_stages() -> None:
    config = resolve_config(load_manager(), preset="paper")
    assert [(choice.stage, choice.plugin.name) for choice in config.choices] == [
        ("extractor", "self-attention"),
        ("foreground", "none"),
        ("clusterer", "finch"),
        ("refiner", "saliency"),
        ("refiner", "merge"),
        ("initializer", "split-merge"),
        ("optimizer", "masked-denoising"),
    ]
