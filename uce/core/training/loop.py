"""The training loop: updates in order, checkpoints, history.

What does not change is done once (the picture and its mirror image are encoded in one call), nothing waits for the
device (losses become numbers at intervals), and everything that chance decides depends on the update's number, so that
an interrupted training continues with the same bytes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from uce.core.backbone import Backbone, Prompt
from uce.core.context import Context
from uce.core.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.errors import StageInputError
from uce.core.events import Step
from uce.core.picture import Picture
from uce.core.training.alignment import Alignment
from uce.core.training.model_weights import ModelWeights
from uce.core.training.objective import TERMS, Objective, resize_masks, widen_masks
from uce.core.training.options import TrainingOptions
from uce.core.training.phases import training_identity
from uce.core.training.rows import TokenRows
from uce.core.training.schedule import Schedule, Update, Updates, fitting_groups

FLUSH_EVERY = 50
"""Updates between two looks at the losses on an accelerator; a look waits for the device."""


def train(
    plan: TokenPlan,
    concepts: Concepts,
    backbone: Backbone,
    image: Picture,
    options: TrainingOptions,
    context: Context,
    *,
    weights: ModelWeights | None = None,
    schedule: Updates | None = None,
    alignment: type[Alignment] = Alignment,
) -> LearnedConcepts:
    """Learn one vector per concept and text encoder, and the model's `weights` where they are given.

    Args:
        plan: starting vectors. Of its tokens' split starts, `schedule` decides what happens to them.
        weights: what of the model trains too; see `uce.core.tuning`.
        schedule: which prompts every update sees; None: the paper's, as `options` say.
        alignment: what the attention term compares, and how; its `prepare` is called.

    Raises:
        StageInputError: no concepts, a plan for another number of them, or a loss that is not finite.
    """
    if len(concepts) == 0:
        raise StageInputError("there is no concept to learn; localise again with other settings, or add a mask")
    if len(plan.tokens) != len(concepts):
        raise StageInputError(f"the plan names {len(plan.tokens)} tokens for {len(concepts)} concepts; they must agree")
    return Training(plan, concepts, backbone, image, options, context, weights, schedule, alignment).run()


def count_updates(plan: TokenPlan, options: TrainingOptions) -> int:
    """Optimiser updates of a training with the paper's schedule."""
    return paper_schedule(plan, options, groups=((),)).total


def paper_schedule(plan: TokenPlan, options: TrainingOptions, groups: tuple[tuple[int, ...], ...]) -> Schedule:
    """As `options` say, for the plan's concepts and split tokens."""
    return Schedule(
        steps=options.steps,
        merge_step=options.merge_step,
        num_concepts=len(plan.tokens),
        num_splits=plan.num_splits,
        batched=options.schedule == "batched",
        groups=groups,
    )


class Training:
    """State of a training while it runs."""

    def __init__(
        self,
        plan: TokenPlan,
        concepts: Concepts,
        backbone: Backbone,
        image: Picture,
        options: TrainingOptions,
        context: Context,
        weights: ModelWeights | None,
        schedule: Updates | None,
        alignment: type[Alignment],
    ) -> None:
        self.plan, self.backbone, self.options, self.context = plan, backbone, options, context
        self.weights, self.alignment = weights, alignment
        self.rows = TokenRows(plan.starts, backbone.device, trained=options.train_tokens)
        self.schedule = schedule or paper_schedule(
            plan, options, fitting_groups(backbone, plan.tokens, options.template)
        )
        self.history: list[dict[str, float | int | str]] = []
        self.pending: list[tuple[Update, Tensor]] = []
        self.prompts: dict[tuple[int, ...], Prompt] = {}
        settings = options.digest() + (weights.digest() if weights else "")
        self.identity = training_identity(settings, plan, concepts, backbone, image, context)
        self.micro_batch = context.micro_batch or choose_micro_batch(backbone)
        self.rate = options.learning_rate * self._rate_unit()
        self.longest = self._longest()
        self.done = self._restore()
        self.objective = self._objective(concepts, image)

    def run(self) -> LearnedConcepts:
        """All updates that are left."""
        every = self.context.checkpoint_every
        for update in self.schedule.updates(self.done):
            if update.phase == "merged":
                self._merge()
            terms = self._update(update)
            self.pending.append((update, terms))
            if self.rows.vectors and len(self.pending) >= self._flush_every:
                self._flush()
            losses = dict(zip(TERMS, terms.unbind(), strict=True))
            self.context.emit(Step(update.number, self.schedule.total, update.phase, losses))
            if every and update.number % every == 0:
                self._save(update.number)
        self._flush()
        self._merge()
        embeddings = {encoder: rows.detach().cpu()[:, None] for encoder, rows in self.rows.vectors.items()}
        trained = self.weights.export() if self.weights else None
        return LearnedConcepts(self.plan.tokens, embeddings, trained, tuple(self.history))

    @property
    def _flush_every(self) -> int:
        return 1 if torch.device(self.backbone.device).type == "cpu" else FLUSH_EVERY

    def _update(self, update: Update) -> Tensor:
        prompts = [self._prompt(rows) for rows in update.prompts]
        draws = self.objective.draws(self.context, update)
        terms = self.objective.backward(self.rows, prompts, update.prompts, draws, update.phase == "split")
        options, share, scale = self.options, self._share(update), self.objective.scale
        if options.train_tokens:
            self.rows.update(self.rate * share, options.weight_decay, options.clip, scale)
            self.rows.limit(self.longest)
        if self.weights:
            self.weights.update(share, scale)
        return terms

    def _rate_unit(self) -> float:
        if self.options.rate_unit == "absolute":
            return 1.0
        tables = [self.backbone.embedding_table(encoder) for encoder in self.backbone.encoders]
        return sum(float(table.float().std()) for table in tables) / len(tables)

    def _longest(self) -> dict[str, float]:
        """Per text encoder the longest that a vector may be; empty for no limit."""
        if not self.options.norm_limit:
            return {}
        tables = {encoder: self.backbone.embedding_table(encoder) for encoder in self.backbone.encoders}
        lengths = {encoder: float(table.float().norm(dim=1).median()) for encoder, table in tables.items()}
        return {encoder: self.options.norm_limit * length for encoder, length in lengths.items()}

    def _share(self, update: Update) -> float:
        """What is left of the learning rate."""
        last = self.options.cool_down * self.schedule.total
        return min(1.0, (self.schedule.total + 1 - update.number) / max(last, 1.0))

    def _merge(self) -> None:
        if self.rows.num_rows > len(self.plan.tokens):
            self.rows.merge()

    def _prompt(self, rows: tuple[int, ...]) -> Prompt:
        """The prompt that shows token rows; tokenised once."""
        if rows not in self.prompts:
            words = {self.plan.tokens[row % len(self.plan.tokens)]: row for row in rows}
            self.prompts[rows] = self.backbone.tokenize(self.options.template.format(" and ".join(words)), words)
        return self.prompts[rows]

    def _objective(self, concepts: Concepts, image: Picture) -> Objective:
        backbone = self.backbone
        pixels = image.pixels.to(backbone.device)
        with torch.no_grad():
            latents = backbone.encode_image(torch.stack([pixels, pixels.flip(-1)])).float()
        masks = resize_masks(concepts.masks, (latents.shape[2], latents.shape[3]))
        masks = widen_masks(masks, self.options.margin).to(latents.device)
        alignment = None
        if self.options.attention_weight > 0 and self.options.steps > 0:
            alignment = self.alignment.prepare(backbone, concepts, backbone.tokenize(""), self.options)
        mirrored = torch.stack([masks, masks.flip(-1)])
        return Objective(backbone, self.options, latents, mirrored, alignment, self.micro_batch)

    def _flush(self) -> None:
        """Turn pending losses into numbers.

        Raises:
            StageInputError: one is not finite.
        """
        if not self.pending:
            return
        values = torch.stack([terms for _, terms in self.pending]).tolist()
        for (update, _), row in zip(self.pending, values, strict=True):
            if not math.isfinite(row[TERMS.index("total")]):
                raise StageInputError(
                    f"the loss of update {update.number} is not finite; try a lower optimizer.learning_rate"
                    f"{'' if self.backbone.precision == 'float32' else ' or --precision float32'}"
                )
            head: dict[str, float | int | str] = {"update": update.number, "phase": update.phase, "step": update.step}
            self.history.append(head | dict(zip(TERMS, row, strict=True)))
        self.pending.clear()

    def _save(self, number: int) -> None:
        self._flush()
        values = {
            "identity": self.identity,
            "update": number,
            "micro_batch": self.micro_batch,
            "history": list(self.history),
        }
        tensors = self.rows.tensors() | (self.weights.tensors() if self.weights else {})
        self.context.checkpoint.save(tensors, values)

    def _restore(self) -> int:
        """Take up the saved state, if it belongs to this training; returns how many updates it holds."""
        state: tuple[dict[str, Tensor], dict[str, Any]] | None = self.context.checkpoint.load()
        if state is None or state[1].get("identity") != self.identity:
            return 0
        tensors, values = state
        self.rows.restore(tensors, values["update"])
        if self.weights:
            self.weights.restore(tensors, values["update"])
        self.history = list(values["history"])
        self.micro_batch = int(values["micro_batch"])
        return int(values["update"])


def choose_micro_batch(backbone: Backbone) -> int:
    """Prompts per UNet pass that fit: by latent size on a CPU (where more gain little), by free memory on CUDA."""
    cells = backbone.latent_side**2
    device = torch.device(backbone.device)
    if device.type == "cuda":
        width = 4 if backbone.precision == "float32" else 2
        free, _ = torch.cuda.mem_get_info(device)
        # the activations of Stable Diffusion's backward pass at 64 x 64 latents take some 3 GB per prompt and half
        # precision; smaller models take less
        return max(1, min(64, int(0.7 * free / (1.5e9 * width * cells / 4096))))
    return max(1, min(32, 8192 // cells))
