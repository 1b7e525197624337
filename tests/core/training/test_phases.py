"""Trainings that follow each other as one: one count, one history, one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from uce.core import Context, LearnedConcepts, TokenPlan
from uce.core.flow.context import Checkpoint
from uce.core.flow.events import Step
from uce.core.training.phases import Phases, merged, plan_from

VECTORS = torch.arange(12.0).reshape(2, 1, 6)


class Kept(Checkpoint):
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.state: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return self.state

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.state = dict(tensors), dict(values)


def training(context: Context, updates: int, start: Tensor, fail_at: int = 0) -> LearnedConcepts:
    """Adds 1 to every number at every update, and keeps a checkpoint after each."""
    state = context.checkpoint.load()
    rows, done = (state[0]["rows"], state[1]["done"]) if state else (start.clone(), 0)
    history: list[dict[str, Any]] = [{"update": n, "step": n, "phase": "merged"} for n in range(1, done + 1)]
    for number in range(done + 1, updates + 1):
        if number == fail_at:
            raise KeyboardInterrupt
        rows = rows + 1
        history.append({"update": number, "step": number, "phase": "merged"})
        context.emit(Step(number, updates, "merged"))
        context.checkpoint.save({"rows": rows}, {"done": number})
    return LearnedConcepts(("<a>", "<b>"), {"clip": rows}, None, tuple(history))


def both(context: Context, fail_at: int = 0, identity: str = "i") -> tuple[LearnedConcepts, list[str]]:
    worked: list[str] = []
    phases = Phases(context, identity, totals=(2, 3))

    def first(own: Context) -> LearnedConcepts:
        worked.append(own.stage)
        return training(own, 2, VECTORS)

    tokens = phases.run(first)

    def second(own: Context) -> LearnedConcepts:
        worked.append(own.stage)
        return training(own, 3, tokens.embeddings["clip"], fail_at)

    return phases.run(second, label="lora"), worked


def test_one_count_and_one_history() -> None:
    heard: list[Step] = []
    learned, worked = both(Context(stage="optimizer", emit=heard.append))
    assert torch.equal(learned.embeddings["clip"], VECTORS + 5)
    rows = [(row["update"], row["phase"]) for row in learned.history]
    assert rows == [(1, "merged"), (2, "merged"), (3, "lora"), (4, "lora"), (5, "lora")]
    assert [(step.update, step.total, step.phase) for step in heard] == [(n, 5, phase) for n, phase in rows]
    assert worked == ["optimizer", "optimizer/1"], "another stream of random numbers"


def test_an_interrupted_second_phase_does_not_repeat_the_first() -> None:
    kept = Kept()
    with pytest.raises(KeyboardInterrupt):
        both(Context(checkpoint=kept), fail_at=2)
    heard: list[Step] = []
    learned, worked = both(Context(checkpoint=kept, emit=heard.append, stage="optimizer"))
    assert worked == ["optimizer/1"] and [step.update for step in heard] == [4, 5]
    whole, _ = both(Context())
    assert torch.equal(learned.embeddings["clip"], whole.embeddings["clip"]) and learned.history == whole.history


def test_another_trainings_checkpoint_is_left_alone() -> None:
    kept = Kept()
    both(Context(checkpoint=kept))
    _, worked = both(Context(checkpoint=kept, stage="s"), identity="other")
    assert worked == ["s", "s/1"]


def test_plans_from_what_is_there() -> None:
    plan = TokenPlan(("<a>", "<b>"), {"clip": torch.arange(24.0).reshape(2, 2, 6)})
    assert torch.equal(merged(plan).starts["clip"], plan.starts["clip"].mean(dim=1, keepdim=True))
    learned = LearnedConcepts(("<a>", "<b>"), {"clip": VECTORS}, None, ())
    assert torch.equal(plan_from(learned).starts["clip"], VECTORS) and plan_from(learned).num_splits == 1
