"""Starts are distinct ordinary words of the model's vocabulary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from uce.core import Context, Prompt
from uce.plugins.initializers.split_merge import SplitMergeInitializer


def backbone(vocabulary: int = 50) -> Any:
    table = torch.arange(vocabulary * 4).reshape(vocabulary, 4).float()
    ids = {"clip": torch.tensor([48, 49, 0, 0])}
    return SimpleNamespace(
        encoders=("clip",),
        tokenize=lambda text: Prompt(text, ids, {"clip": torch.full((4,), -1)}, {"clip": 1}),
        embedding_table=lambda encoder: table,
    )


def plan_of(num: int, model: Any = None, seed: int = 0, **settings: Any) -> Any:
    chosen = SplitMergeInitializer.Settings(**settings)
    return SplitMergeInitializer().uce_initialize_tokens(range(num), model or backbone(), chosen, Context(seed=seed))


def test_five_distinct_starts_per_concept():
    plan = plan_of(3)
    assert plan.tokens == ("<asset0>", "<asset1>", "<asset2>")
    assert plan.starts["clip"].shape == (3, 5, 4) and plan.num_splits == 5
    assert len({row[0].item() for row in plan.starts["clip"].reshape(-1, 4)}) == 15


def test_special_tokens_are_never_drawn():
    rows = {int(row[0]) // 4 for row in plan_of(9).starts["clip"].reshape(-1, 4)}
    assert len(rows) == 45 and not rows & {0, 48, 49}


def test_small_vocabulary_repeats():
    assert plan_of(3, backbone(vocabulary=50 + 0), split_tokens=20).starts["clip"].shape == (3, 20, 4)


def test_seed_decides():
    assert torch.equal(plan_of(2, seed=1).starts["clip"], plan_of(2, seed=1).starts["clip"])
    assert not torch.equal(plan_of(2, seed=1).starts["clip"], plan_of(2, seed=2).starts["clip"])


def test_at_least_one_start():
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        SplitMergeInitializer.Settings(split_tokens=0)
