"""Which prompts every update sees, against the paper's counts."""

from __future__ import annotations

import dataclasses

import pytest

from uce.core import StageInputError
from uce.core.training.schedule import Schedule, fitting_groups
from uce.testing import tiny_backbone

PAPER = Schedule(steps=500, merge_step=100, num_concepts=3, num_splits=5, batched=False, groups=((0, 1, 2),))


def test_the_papers_counts() -> None:
    """5K single-token updates a step before the merge; K single ones and one with all K after it."""
    updates = list(PAPER.updates())
    assert len(updates) == PAPER.total == 100 * 15 + 400 * 4 and PAPER.split_updates == 1500
    assert [update.number for update in updates] == list(range(1, len(updates) + 1))
    assert [update.prompts for update in updates[:15]] == [((row,),) for row in range(15)]
    assert updates[1499].phase == "split" and updates[1500].phase == "merged"
    assert [update.prompts for update in updates[1500:1504]] == [((0,),), ((1,),), ((2,),), ((0, 1, 2),)]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("done", [0, 1, 7, 44, 45, 46])
def test_a_resumed_training_sees_what_was_left(batched: bool, done: int) -> None:
    schedule = dataclasses.replace(PAPER, steps=6, merge_step=3, batched=batched)
    assert list(schedule.updates(done)) == list(schedule.updates())[done:]


def test_batched_is_one_update_a_step_over_the_same_prompts() -> None:
    plain, batched = (dataclasses.replace(PAPER, steps=4, merge_step=2, batched=b) for b in (False, True))
    together = list(batched.updates())
    assert len(together) == batched.total == 4
    for update in together:
        assert update.prompts == tuple(p for u in plain.updates() if u.step == update.step for p in u.prompts)


@pytest.mark.parametrize(
    ("steps", "merge", "splits", "apart"), [(5, 9, 5, 5), (5, 0, 5, 0), (5, 3, 1, 0), (5, 3, 2, 3)]
)
def test_how_long_splits_train_apart(steps: int, merge: int, splits: int, apart: int) -> None:
    schedule = dataclasses.replace(PAPER, steps=steps, merge_step=merge, num_splits=splits)
    assert schedule.split_steps == apart
    assert sum(update.phase == "split" for update in schedule.updates()) == schedule.split_updates


def test_one_concept_batched_needs_no_second_prompt() -> None:
    one = Schedule(4, 0, 1, 1, batched=True, groups=((0,),))
    assert {update.prompts for update in one.updates()} == {((0,),)}
    assert len(next(dataclasses.replace(one, batched=False).updates()).prompts) == 1
    assert dataclasses.replace(one, batched=False).total == 8


def test_groups_take_turns_where_not_all_fit() -> None:
    schedule = dataclasses.replace(PAPER, steps=3, merge_step=0, batched=True, groups=((0, 1), (2,)))
    assert [update.prompts[-1] for update in schedule.updates()] == [(0, 1), (2,), (0, 1)]


def test_as_few_groups_as_the_text_encoder_reads() -> None:
    backbone = tiny_backbone()
    few, many = (tuple(f"<asset{k}>" for k in range(count)) for count in (3, 24))
    assert fitting_groups(backbone, few, "a photo of {}") == ((0, 1, 2),)
    groups = fitting_groups(backbone, many, "a photo of {}")
    assert len(groups) > 1 and sorted(k for group in groups for k in group) == list(range(24))
    with pytest.raises(StageInputError, match=r"text"):
        fitting_groups(backbone, few, "a photo " * 40 + "of {}")
