"""The training loop: which prompts it shows, how its rate falls, and that it continues as if nothing had happened."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uce.core import Context, LearnedConcepts
from uce.core.flow.context import Checkpoint
from uce.core.flow.events import Step
from uce.core.training.alignment import Alignment
from uce.core.training.loop import Training, count_updates, train
from uce.core.training.options import TrainingOptions
from uce.core.training.schedule import Update
from uce.testing import tiny_backbone, tiny_concepts, tiny_picture
from uce.testing.cases import tiny_plan

K = 3


class Kept(Checkpoint):
    """A checkpoint in memory that interrupts a training once it holds `stop` updates."""

    def __init__(self, stop: int) -> None:
        self.state: Any = None
        self.stop = stop

    def load(self) -> Any:
        return self.state

    def save(self, tensors: Any, values: Any) -> None:
        self.state = dict(tensors), dict(values)
        if values["update"] == self.stop:
            self.stop = 0
            raise KeyboardInterrupt


def options(**given: Any) -> TrainingOptions:
    return TrainingOptions(**({"steps": 2, "merge_step": 1, "attention_weight": 0.0} | given))


def learn(context: Context | None = None, rate: Any = None, **given: Any) -> LearnedConcepts:
    backbone, concepts, picture = tiny_backbone(), tiny_concepts(), tiny_picture()
    context = context or Context()
    return train(tiny_plan(backbone, K, 2), concepts, backbone, picture, options(**given), context, rate=rate)


def training(**given: Any) -> Training:
    backbone = tiny_backbone()
    return Training(tiny_plan(backbone, K, 2), tiny_concepts(), backbone, tiny_picture(), options(**given), Context(),
                    None, None, Alignment)  # fmt: skip


@pytest.mark.parametrize("schedule", ["paper", "batched"])
def test_as_many_updates_as_were_counted(schedule: Any) -> None:
    heard, plan = list[Step](), tiny_plan(tiny_backbone(), K, 2)
    learned = learn(Context(emit=heard.append), schedule=schedule)
    count = count_updates(plan, options(schedule=schedule))
    assert [step.update for step in heard] == list(range(1, count + 1)) and heard[0].total == count
    assert learned.tokens == plan.tokens and len(learned.history) == count
    assert learned.embeddings["clip"].shape == (K, 1, 6) and torch.isfinite(learned.embeddings["clip"]).all()


def test_no_step_gives_the_average_of_the_starts() -> None:
    start = tiny_plan(tiny_backbone(), K, 2).starts["clip"]
    found = learn(steps=0).embeddings["clip"]
    assert torch.allclose(found, start.mean(dim=1, keepdim=True))


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_an_interrupted_training_continues_with_the_same_bytes(stop: int) -> None:
    whole, kept = learn(Context(checkpoint_every=1)), Kept(stop)
    with pytest.raises(KeyboardInterrupt):
        learn(Context(checkpoint=kept, checkpoint_every=1))
    again = learn(Context(checkpoint=kept, checkpoint_every=1))
    assert again.history == whole.history and torch.equal(again.embeddings["clip"], whole.embeddings["clip"])


def test_the_rate_falls_in_a_straight_line_at_the_end() -> None:
    loop = training(cool_down=0.5)
    total = loop.total
    shares = [loop._share(Update(number, 1, "merged", ((0,),))) for number in range(1, total + 1)]
    assert shares[0] == 1 and shares[-1] == pytest.approx(1 / (total / 2)) and sorted(shares, reverse=True) == shares
    flat = training()
    assert flat._share(Update(total, 1, "merged", ((0,),))) == 1


def test_a_given_rate_multiplies() -> None:
    seen: list[tuple[int, int]] = []
    still = learn(rate=lambda *asked: seen.append(asked) or 0.0, weight_decay=0.0)
    assert torch.allclose(still.embeddings["clip"], learn(steps=0).embeddings["clip"], atol=1e-6)
    assert seen[0] == (1, len(still.history)) and {total for _, total in seen} == {len(still.history)}


def test_prompts_show_the_tokens_of_their_rows_and_are_tokenised_once() -> None:
    loop = training(template="a picture of {}")
    first = loop._prompt((0, 4))
    names = loop.plan.tokens
    assert first.text == f"a picture of {names[0]} and {names[1]}", "row 4 is split 1 of concept 1"
    assert first.positions(0) and first.positions(4) and loop._prompt((0, 4)) is first
