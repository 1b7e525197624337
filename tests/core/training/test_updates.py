"""What every training shares: order, history, checkpoints of good states alone, and what is asked of its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoint_loop import Loop
from torch import Tensor

from uce.core import Context, DivergedError, StageInputError, TokenPlan
from uce.core.flow.events import Step
from uce.core.training.schedule import Update
from uce.core.training.updates import (
    UpdateLoop,
    choose_micro_batch,
    identity_of,
    rate_unit,
    require_concepts,
)
from uce.core.work.cache import FileCheckpoint
from uce.testing import tiny_backbone, tiny_concepts

PLAN = TokenPlan(("<a>", "<b>"), {"clip": torch.arange(24.0).reshape(2, 2, 6) / 24})


class Walk(UpdateLoop):
    """Six updates; each moves every number by .1 and says how far it has come."""

    terms = ("mse", "total")
    total = 6  # type: ignore[assignment]
    broken = 0

    def updates(self) -> Iterator[Update]:
        for number in range(self.done + 1, 7):
            yield Update(number, number, "split" if number <= 3 else "merged", ((0,),))

    def step(self, update: Update) -> Tensor:
        with torch.no_grad():
            for rows in self.rows.vectors.values():
                rows += 0.1
                if update.number == self.broken:
                    rows[0, 0] = float("nan")
        return torch.tensor([update.number / 2, float(update.number)])


def walk(checkpoint: Any = None, every: int = 0, micro_batch: int = 3, heard: list[Any] | None = None) -> Walk:
    context = Context(checkpoint_every=every, micro_batch=micro_batch, emit=(heard if heard is not None else []).append)
    if checkpoint is not None:
        context = Context(
            checkpoint=checkpoint, checkpoint_every=every, micro_batch=micro_batch, emit=lambda event: None
        )
    return Walk(PLAN, tiny_backbone(), context, "i")


def test_history_and_events_in_order() -> None:
    heard: list[Step] = []
    learned = walk(heard=heard).run()
    assert [row["update"] for row in learned.history] == [event.update for event in heard] == [1, 2, 3, 4, 5, 6]
    assert learned.history[2] == {"update": 3, "phase": "split", "step": 3, "mse": 1.5, "total": 3.0}
    assert float(heard[3].losses["total"]) == 4 and {event.total for event in heard} == {6}
    assert torch.allclose(learned.embeddings["clip"][:, 0], PLAN.starts["clip"].mean(dim=1) + 0.6)


def test_tokens_of_an_event_are_copies_of_the_average() -> None:
    heard: list[Step] = []
    loop = walk(heard=heard)
    loop.run()
    assert heard[0].tokens is not None
    found = heard[0].tokens()
    assert found.keys() == {"<a>", "<b>"} and found["<a>"]["clip"].shape == (1, 6)


@pytest.mark.parametrize("every", [1, 2, 4, 5])
def test_an_interrupted_training_goes_on_with_the_same_numbers(tmp_path: Path, every: int) -> None:
    whole = walk().run()
    checkpoint = FileCheckpoint(tmp_path / "c.safetensors", "key")
    interrupted = walk(checkpoint, every)
    for done, update in enumerate(interrupted.updates()):
        if done == 5:
            break
        if update.phase != "split":
            interrupted._merge()
        interrupted.pending.append((update, interrupted.step(update)))
        if update.number % every == 0:
            interrupted._save(update.number)
    resumed = walk(checkpoint, every, micro_batch=7)
    assert resumed.done == 5 // every * every and resumed.micro_batch == (3 if resumed.done else 7)
    again = resumed.run()
    assert again.history == whole.history and torch.equal(again.embeddings["clip"], whole.embeddings["clip"])


@pytest.mark.parametrize(
    ("values", "rows"),
    [({"update": "2"}, (4, 6)), ({"history": []}, (4, 6)), ({"history": [1, 2]}, (4, 6)), ({"micro_batch": 0}, (4, 6)),
     ({}, (3, 6)), ({}, (4, 5)), ({}, None)],
)  # fmt: skip
def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path, values: Mapping[str, Any], rows: Any) -> None:
    checkpoint = FileCheckpoint(tmp_path / "c.safetensors", "key")
    good = {"identity": "i", "update": 2, "micro_batch": 3, "history": [{"update": 1}, {"update": 2}]}
    names = [f"{name}.clip" for name in ("vectors", "first", "second")]
    for shape, facts, done in ((rows, {**good, **values}, 0), ((4, 6), good, 2), ((2, 6), good, 2)):
        checkpoint.save({name: torch.zeros(shape) for name in names if shape}, facts)
        assert Loop(PLAN, tiny_backbone(), Context(checkpoint=checkpoint), "i").done == done


@pytest.mark.parametrize("name", ["vectors.clip", "first.clip", "second.clip"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checkpoint_that_is_not_finite_counts_as_none(tmp_path: Path, name: str, value: float) -> None:
    checkpoint = FileCheckpoint(tmp_path / "c.safetensors", "key")
    tensors = {f"{part}.clip": torch.zeros(4, 6) for part in ("vectors", "first", "second")}
    tensors[name][3, 5] = value
    facts = {"identity": "i", "update": 1, "micro_batch": 3, "history": [{"update": 1}]}
    checkpoint.save(tensors, facts)
    assert Loop(PLAN, tiny_backbone(), Context(checkpoint=checkpoint), "i").done == 0


def test_another_trainings_checkpoint_is_left_alone(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "c.safetensors", "key")
    walk(checkpoint, every=1).run()
    assert Loop(PLAN, tiny_backbone(), Context(checkpoint=checkpoint), "other").done == 0


def test_a_token_that_is_not_finite_ends_the_training_and_is_never_kept(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "c.safetensors", "key")
    loop = walk(checkpoint, every=1)
    loop.broken = 3
    with pytest.raises(DivergedError, match="update 3 made a token that is not finite; try a lower optimizer"):
        loop.run()
    assert walk(checkpoint).done == 2


def test_what_a_training_asks_of_its_input() -> None:
    concepts = tiny_concepts()
    require_concepts(PLAN, concepts.select([0, 1]))
    with pytest.raises(StageInputError, match="there is no concept to learn; localise again"):
        require_concepts(PLAN, concepts.select([]))
    with pytest.raises(StageInputError, match="the plan names 2 tokens for 1 concepts"):
        require_concepts(PLAN, concepts.select([0]))


def test_a_rate_counts_in_what_words_differ_by() -> None:
    backbone = tiny_backbone(("clip_l", "clip_g"))
    spreads = [float(backbone.embedding_table(name).std()) for name in backbone.encoders]
    assert rate_unit(backbone, "absolute") == 1 and rate_unit(backbone, "vocabulary") == pytest.approx(sum(spreads) / 2)


@pytest.mark.parametrize(("side", "prompts"), [(8, 32), (16, 32), (32, 8), (64, 2), (128, 1)])
def test_prompts_per_pass_on_a_cpu(side: int, prompts: int) -> None:
    backbone: Any = SimpleNamespace(latent_side=side, device="cpu", precision="float32")
    assert choose_micro_batch(backbone) == prompts


def test_the_identity_knows_facts_seed_model_and_tensors() -> None:
    backbone: Any = SimpleNamespace(fingerprint="m")
    tensor = torch.arange(3.0)
    base = identity_of("f", [tensor], Context(seed=1), backbone)
    assert base == identity_of("f", [tensor.clone()], Context(seed=1), backbone)
    others = [
        identity_of("g", [tensor], Context(seed=1), backbone),
        identity_of("f", [tensor + 1], Context(seed=1), backbone),
        identity_of("f", [tensor], Context(seed=2), backbone),
        identity_of("f", [tensor], Context(seed=1), SimpleNamespace(fingerprint="n")),  # type: ignore[arg-type]
    ]
    assert len({base, *others}) == 5
