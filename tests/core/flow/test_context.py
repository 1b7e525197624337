"""Randomness: one stream per stage and purpose, from the run's seed alone."""

from __future__ import annotations

import random

import numpy as np
import torch

from uce.core import Context
from uce.core.flow.context import NoCheckpoint


def draws(context: Context, salt: str = "") -> list[float]:
    return [float(value) for value in torch.rand(4, generator=context.generator(salt=salt))]


def test_the_same_arguments_start_the_same_stream() -> None:
    first = draws(Context(seed=3, stage="clusterer"))
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    assert draws(Context(seed=3, stage="clusterer")) == first


def test_every_seed_stage_and_purpose_has_a_stream_of_its_own() -> None:
    contexts = [
        Context(seed=seed, stage=stage) for seed in (0, 1, 2**62) for stage in ("extractor", "clusterer", "optimizer")
    ]
    streams = {tuple(draws(context, salt)) for context in contexts for salt in ("", "noise", "update 1", "update 11")}
    assert len(streams) == len(contexts) * 4


def test_fields_are_kept_apart() -> None:
    assert Context(seed=1, stage="2").derived_seed() != Context(seed=12, stage="").derived_seed()
    assert Context(seed=1, stage="a").derived_seed("b") != Context(seed=1, stage="ab").derived_seed()


def test_derived_seeds_fit_a_generator_and_never_change() -> None:
    seed = Context(seed=0, stage="clusterer").derived_seed("kmeans")
    assert 0 <= seed < 2**63
    assert seed == 4197941138328404313, "another number would change the bytes of everybody's runs"


def test_drawing_leaves_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    draws(Context(seed=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plain_context_keeps_and_tells_nothing() -> None:
    context = Context()
    context.emit("event")
    context.checkpoint.save({"rows": torch.ones(1)}, {"update": 1})
    assert isinstance(context.checkpoint, NoCheckpoint) and context.checkpoint.load() is None
