"""The training loop of masked denoising: which prompts an update shows, and at which rate it learns.

What does not change is done once (the picture and its mirror image are encoded in one call).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from uce.core.backbone import Backbone, Prompt
from uce.core.context import Context
from uce.core.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.errors import StageInputError
from uce.core.picture import Picture
from uce.core.training.alignment import Alignment
from uce.core.training.objective import TERMS, Objective, resize_masks, widen_masks
from uce.core.training.options import TrainingOptions
from uce.core.training.schedule import Schedule, Update
from uce.core.training.updates import Updates, identity_of, rate_unit, require_concepts


def train(
    plan: TokenPlan,
    concepts: Concepts,
    backbone: Backbone,
    image: Picture,
    options: TrainingOptions,
    context: Context,
) -> LearnedConcepts:
    """Learn one vector per concept and text encoder.

    Raises:
        StageInputError: no concepts, a plan for another number of them, or a loss that is not finite.
    """
    require_concepts(plan, concepts)
    return Training(plan, concepts, backbone, image, options, context).run()


class Training(Updates):
    """State of a training while it runs."""

    terms = TERMS

    def __init__(
        self,
        plan: TokenPlan,
        concepts: Concepts,
        backbone: Backbone,
        image: Picture,
        options: TrainingOptions,
        context: Context,
    ) -> None:
        learned_from = (*plan.starts.values(), concepts.masks, concepts.maps, image.pixels)
        super().__init__(plan, backbone, context, identity_of(options.digest(), learned_from, context, backbone))
        self.options = options
        self.prompts: dict[tuple[int, ...], Prompt] = {}
        self.schedule = Schedule(
            steps=options.steps,
            merge_step=options.merge_step,
            num_concepts=len(concepts),
            num_splits=plan.num_splits,
            batched=options.schedule == "batched",
            groups=self._groups(len(concepts)),
        )
        self.rate = options.learning_rate * rate_unit(backbone, options.rate_unit)
        self.longest = self._longest()
        self.objective = self._objective(concepts, image)

    @property
    def total(self) -> int:
        return self.schedule.total

    def updates(self) -> Iterator[Update]:
        return self.schedule.updates(self.done)

    def step(self, update: Update) -> Tensor:
        prompts = [self._prompt(rows) for rows in update.prompts]
        draws = self.objective.draws(self.context, update)
        terms = self.objective.backward(self.rows, prompts, update.prompts, draws, update.phase == "split")
        options = self.options
        self.rows.update(self._learning_rate(update), options.weight_decay, options.clip, self.objective.scale)
        self.rows.limit(self.longest)
        return terms

    def _longest(self) -> dict[str, float]:
        """Per text encoder the longest that a vector may be; empty for no limit."""
        if not self.options.norm_limit:
            return {}
        tables = {encoder: self.backbone.embedding_table(encoder) for encoder in self.backbone.encoders}
        lengths = {encoder: float(table.float().norm(dim=1).median()) for encoder, table in tables.items()}
        return {encoder: self.options.norm_limit * length for encoder, length in lengths.items()}

    def _learning_rate(self, update: Update) -> float:
        last = self.options.cool_down * self.schedule.total
        return self.rate * min(1.0, (self.schedule.total + 1 - update.number) / max(last, 1.0))

    def _prompt(self, rows: tuple[int, ...]) -> Prompt:
        """The prompt that shows token rows; tokenised once."""
        if rows not in self.prompts:
            words = {self.plan.tokens[row % len(self.plan.tokens)]: row for row in rows}
            self.prompts[rows] = self.backbone.tokenize(self.options.template.format(" and ".join(words)), words)
        return self.prompts[rows]

    def _groups(self, num_concepts: int) -> tuple[tuple[int, ...], ...]:
        """All concepts in one prompt, or as few groups of equal size as the text encoder can read."""
        for parts in range(1, num_concepts + 1):
            size = math.ceil(num_concepts / parts)
            words = {self.plan.tokens[k]: k for k in range(size)}
            try:
                self.backbone.tokenize(self.options.template.format(" and ".join(words)), words)
            except StageInputError:
                if size == 1:
                    raise
                continue
            return tuple(tuple(range(i, min(i + size, num_concepts))) for i in range(0, num_concepts, size))
        raise AssertionError("a group of one concept is tried last")

    def _objective(self, concepts: Concepts, image: Picture) -> Objective:
        backbone = self.backbone
        pixels = image.pixels.to(backbone.device)
        with torch.no_grad():
            latents = backbone.encode_image(torch.stack([pixels, pixels.flip(-1)])).float()
        masks = resize_masks(concepts.masks, (latents.shape[2], latents.shape[3]))
        masks = widen_masks(masks, self.options.margin).to(latents.device)
        alignment = None
        if self.options.attention_weight > 0 and self.options.steps > 0:
            alignment = Alignment.prepare(backbone, concepts, backbone.tokenize(""), self.options)
        mirrored = torch.stack([masks, masks.flip(-1)])
        return Objective(backbone, self.options, latents, mirrored, alignment, self.micro_batch)
