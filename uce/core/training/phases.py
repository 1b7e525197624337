"""Trainings that follow each other as one: one checkpoint, one count of updates, one history.

    phases = Phases(context, identity, totals=(first_updates, second_updates))
    tokens = phases.run(lambda context: train(plan, ..., context))
    both = phases.run(lambda context: train(plan_from(tokens), ..., context, weights=...), label="lora")

A training that is interrupted in its second phase does not repeat its first: the result of every phase that is done
lies in the checkpoint beside the state of the one that works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from uce.core.flow.context import Checkpoint, Context
from uce.core.flow.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.flow.events import Step
from uce.core.flow.picture import Picture
from uce.core.flow.serial import dump, parse
from uce.core.model.backbone import Backbone
from uce.core.training.updates import identity_of


def training_identity(
    settings: str, plan: TokenPlan, concepts: Concepts, backbone: Backbone, image: Picture, context: Context
) -> str:
    """What a checkpoint must belong to: a hash of `settings` and of everything that a training starts from."""
    learned_from = [*plan.starts.values(), concepts.masks, concepts.maps, image.pixels]
    learned_from += [tensor for sighting in context.sightings for tensor in sighting.tensors]
    return identity_of(settings, learned_from, context, backbone)


def plan_from(learned: LearnedConcepts) -> TokenPlan:
    """A plan that starts where `learned` ended."""
    several = {key: rows[:, None] if rows.shape[1] > 1 else rows for key, rows in learned.embeddings.items()}
    return TokenPlan(learned.tokens, several)


def merged(plan: TokenPlan) -> TokenPlan:
    """The plan with the mean of each concept's split tokens as its one start."""
    return TokenPlan(plan.tokens, {key: starts.mean(dim=1, keepdim=True) for key, starts in plan.starts.items()})


class Phases:
    """Runs trainings one after the other; `run` is called once per phase, in order."""

    def __init__(self, context: Context, identity: str, totals: Sequence[int]) -> None:
        """
        Args:
            context: the optimizer's own.
            identity: what the checkpoint must belong to (`training_identity`).
            totals: optimiser updates of every phase.
        """
        self.context, self.identity, self.totals = context, identity, tuple(totals)
        self.done: list[LearnedConcepts] = []
        self.saved = self._load()

    def run(self, work: Callable[[Context], LearnedConcepts], label: str = "") -> LearnedConcepts:
        """The next phase.

        Args:
            work: is given the phase's own context: another stream of random numbers, its own view on the checkpoint,
                and events counted from where the phase before ended.
            label: what stands in the place of the phase's names in events and history; "" keeps them.

        Returns:
            what the phase learned, with the history of all phases so far.
        """
        number = len(self.done)
        if self.saved is not None and number < len(self.saved.done):
            learned = self.saved.done[number]
        else:
            learned = work(self._context(number, label))
            learned = replace(learned, history=(*self._history, *self._counted(learned.history, label)))
        self.done.append(learned)
        return learned

    @property
    def _history(self) -> Sequence[Mapping[str, float | int | str]]:
        return self.done[-1].history if self.done else ()

    def _context(self, number: int, label: str) -> Context:
        before, total = sum(self.totals[:number]), sum(self.totals)

        def emit(event: Any) -> None:
            if isinstance(event, Step):
                event = replace(event, update=event.update + before, total=total, phase=label or event.phase)
            self.context.emit(event)

        stage = self.context.stage if number == 0 else f"{self.context.stage}/{number}"
        return replace(self.context, stage=stage, checkpoint=_PhaseCheckpoint(self, number), emit=emit)

    def _counted(
        self, rows: Sequence[Mapping[str, float | int | str]], label: str
    ) -> list[dict[str, float | int | str]]:
        """History of a phase, counted from the end of the one before."""
        last = self._history[-1] if self._history else {}
        counted = []
        for row in rows:
            shifted = {key: int(row[key]) + int(last.get(key, 0)) for key in ("update", "step") if key in row}
            counted.append({**row, **shifted, "phase": label or row["phase"]})
        return counted

    def _load(self) -> _Saved | None:
        state = self.context.checkpoint.load()
        if state is None or state[1].get("phases") != self.identity:
            return None
        tensors, values = state
        done = [parse(_inside(tensors, f"done {i}"), item) for i, item in enumerate(values["done"])]
        assert all(isinstance(item, LearnedConcepts) for item in done)
        return _Saved(done, (_inside(tensors, "now"), values["now"]))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Saved:
    """What the checkpoint holds: results of phases that are done, and the state of the next one."""

    done: list[LearnedConcepts]
    now: tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class _PhaseCheckpoint(Checkpoint):
    """One phase's view on the checkpoint."""

    phases: Phases
    number: int

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        saved = self.phases.saved
        return saved.now if saved is not None and len(saved.done) == self.number else None

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        everything = {f"now/{key}": value for key, value in tensors.items()}
        done = []
        for index, learned in enumerate(self.phases.done):
            kept, item = dump(learned)
            everything |= {f"done {index}/{key}": value for key, value in kept.items()}
            done.append(item)
        self.phases.context.checkpoint.save(
            everything, {"phases": self.phases.identity, "done": done, "now": dict(values)}
        )


def _inside(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}/"): value for key, value in tensors.items() if key.startswith(f"{prefix}/")}
