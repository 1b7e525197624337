"""What only some backbones can do is refused in a sentence by the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uce.core import ModelError, Tuning
from uce.core.model.abilities import read_prompt, train_weights, use_weights
from uce.testing import tiny_backbone

PLAIN: Any = SimpleNamespace(model="plain")


def test_a_backbone_that_trains_tokens_only() -> None:
    text = "model 'plain' comes from a backbone without {}, so only tokens can be learned with it; use --optimizer"
    with pytest.raises(ModelError, match=text.format("train_weights")), train_weights(PLAIN, Tuning()):
        pass
    with pytest.raises(ModelError, match=text.format("use_weights")), use_weights(PLAIN, {"a": torch.zeros(1)}):
        pass


@pytest.mark.parametrize("weights", [None, {}])
def test_without_weights_nothing_is_asked(weights: dict[str, torch.Tensor] | None) -> None:
    with use_weights(PLAIN, weights):
        pass


def test_those_that_can_are_asked() -> None:
    with train_weights(tiny_backbone(), Tuning()) as trained:
        assert trained.parameters


def test_a_word_of_several_vectors() -> None:
    """Those that read one per token say so; where each word has one, nothing more is asked of them."""
    backbone = tiny_backbone()
    assert read_prompt(backbone, "a <cup>", {"<cup>": [3]}).positions(3)
    with pytest.raises(ModelError, match=r"reads one vector per token .* use initializer\.vectors=1"):
        read_prompt(backbone, "a <cup>", {"<cup>": [3, 4]})
