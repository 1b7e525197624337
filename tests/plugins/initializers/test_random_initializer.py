"""One start per concept, and no splitting."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from uce.core import Context, Prompt
from uce.plugins.initializers.random import RandomInitializer


def test_one_start_per_concept_and_encoder():
    tables = {"clip_l": torch.randn(20, 4), "clip_g": torch.randn(30, 6)}
    ids = {encoder: torch.tensor([0, 1]) for encoder in tables}
    backbone = SimpleNamespace(
        encoders=tuple(tables), tokenize=lambda text: Prompt(text, ids, ids, {}), embedding_table=tables.__getitem__
    )
    plan = RandomInitializer().uce_initialize_tokens([None] * 3, backbone, RandomInitializer.Settings(), Context())
    assert {encoder: tuple(starts.shape) for encoder, starts in plan.starts.items()} == {
        "clip_l": (3, 1, 4),
        "clip_g": (3, 1, 6),
    }
    assert plan.num_splits == 1 and plan.merge_step == 0
