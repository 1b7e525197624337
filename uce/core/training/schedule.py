"""Which prompts every optimiser update sees.

Token rows: before the merge row s * K + k is split s of concept k (the order in which the paper visits them); after it
row k is concept k. So the concept of a row is always `row % K`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from uce.core.errors import StageInputError
from uce.core.model.abilities import read_prompt
from uce.core.model.backbone import Backbone


@dataclass(frozen=True)
class Update:
    """One optimiser update.

    Attributes:
        number: 1-based.
        step: 1-based.
        phase: "split" or "merged".
        prompts: the token rows that each prompt shows together.
    """

    number: int
    step: int
    phase: str
    prompts: tuple[tuple[int, ...], ...]


class UpdatePlan(Protocol):
    """A schedule of any kind. What it decides may depend on an update's number only, so that a training resumes."""

    @property
    def total(self) -> int:
        """Optimiser updates altogether."""

    def updates(self, done: int = 0) -> Iterator[Update]:
        """The updates after the first `done`."""


def fitting_groups(
    backbone: Backbone, tokens: Sequence[str], template: str, num_vectors: int = 1
) -> tuple[tuple[int, ...], ...]:
    """All concepts in one prompt, or as few groups of equal size as the text encoder can read.

    Args:
        tokens: K concept tokens.
        template: the prompt; "{}" stands for the tokens, joined by " and ".
        num_vectors: vectors in a row that each token stands for.

    Raises:
        StageInputError: not even one token fits.
        ModelError: several vectors, and a backbone that reads one per token.
    """
    num_concepts = len(tokens)
    for parts in range(1, num_concepts + 1):
        size = math.ceil(num_concepts / parts)
        words = {tokens[k]: [k] * num_vectors for k in range(size)}
        try:
            read_prompt(backbone, template.format(" and ".join(words)), words)
        except StageInputError:
            if size == 1:
                raise
            continue
        return tuple(tuple(range(i, min(i + size, num_concepts))) for i in range(0, num_concepts, size))
    raise AssertionError("a group of one concept is tried last")


@dataclass(frozen=True)
class Schedule:
    """The updates of a training.

    Attributes:
        steps: how often every token is visited.
        merge_step: steps before the merge; those beyond `steps` do not happen.
        num_concepts: K.
        num_splits: S; with S = 1 there is nothing to merge.
        batched: one update per step instead of one per prompt. The prompt of all tokens is then left out where K = 1,
            since it repeats the single one; the paper's schedule keeps it.
        groups: concepts shown in one prompt after the merge. One group of all K; where so many do not fit the text
            encoder, several that take turns.
    """

    steps: int
    merge_step: int
    num_concepts: int
    num_splits: int
    batched: bool
    groups: tuple[tuple[int, ...], ...]

    @property
    def split_steps(self) -> int:
        """Steps in which split tokens train apart."""
        return min(self.merge_step, self.steps) if self.num_splits > 1 else 0

    def prompts(self, step: int) -> tuple[tuple[int, ...], ...]:
        """All prompts of 1-based `step`."""
        if step <= self.split_steps:
            return tuple((row,) for row in range(self.num_concepts * self.num_splits))
        singles = tuple((row,) for row in range(self.num_concepts))
        if self.batched and self.num_concepts == 1:
            return singles
        return (*singles, self.groups[(step - self.split_steps - 1) % len(self.groups)])

    @property
    def split_updates(self) -> int:
        """Optimiser updates before the merge."""
        return self.split_steps * (1 if self.batched else self.num_concepts * self.num_splits)

    @property
    def total(self) -> int:
        """Optimiser updates altogether."""
        return self.split_updates + (self.steps - self.split_steps) * (1 if self.batched else self.num_concepts + 1)

    def updates(self, done: int = 0) -> Iterator[Update]:
        """The updates after the first `done`."""
        number = 0
        for step in range(1, self.steps + 1):
            phase = "split" if step <= self.split_steps else "merged"
            prompts = self.prompts(step)
            for batch in (prompts,) if self.batched else tuple((prompt,) for prompt in prompts):
                number += 1
                if number > done:
                    yield Update(number, step, phase, batch)
