"""The training loop of masked denoising: which prompts an update shows, and at which rate it learns.

What does not change is done once (all views of the pictures and their mirror images are encoded first).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from uce.core.flow.context import Context
from uce.core.flow.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.flow.picture import Picture
from uce.core.model.abilities import read_prompt
from uce.core.model.backbone import Backbone, Prompt
from uce.core.training.alignment import Alignment
from uce.core.training.extras import ExtraLoss, Rate, checked_rate
from uce.core.training.model_weights import ModelWeights
from uce.core.training.objective import Objective
from uce.core.training.options import TrainingOptions
from uce.core.training.phases import training_identity
from uce.core.training.schedule import Schedule, Update, UpdatePlan, fitting_groups
from uce.core.training.updates import UpdateLoop, rate_unit, require_concepts
from uce.core.training.views import Views
from uce.core.training.word_axes import word_coordinates


def train(
    plan: TokenPlan,
    concepts: Concepts,
    backbone: Backbone,
    image: Picture,
    options: TrainingOptions,
    context: Context,
    *,
    rate: Rate | None = None,
    extra_loss: ExtraLoss | None = None,
    weights: ModelWeights | None = None,
    schedule: UpdatePlan | None = None,
    alignment: type[Alignment] = Alignment,
) -> LearnedConcepts:
    """Learn one vector per concept and text encoder, or as many as the plan has, and the model's `weights` where given.

    Args:
        plan: starting vectors. Split starts train apart while an update's phase is "split", then are averaged.
        options: from `DenoisingSettings.options()`, or made as they are.
        rate: multiplies the learning rate of tokens and weights in update `update`, from 1, of `total`; `cool_down`
            holds as well.
        extra_loss: added to the loss of every update, from what the update has (`UpdateView`); its value is the
            column `extra` of history.csv. See `uce.core.training.extras`.
        weights: what of the model trains too; see `uce.core.model.tuning`.
        schedule: which prompts every update sees; None: the paper's, as `options` say.
        context: its `sightings` show the concepts in further pictures: prompts then see the pictures in turn.
        alignment: what the attention term compares, and how; its `prepare` is called.

    Raises:
        StageInputError: no concepts, a plan for another number of them, or a loss that is not finite.
        PluginError: `rate` or `extra_loss` gives no number.
    """
    require_concepts(plan, concepts)
    extras = rate, extra_loss
    return Training(plan, concepts, backbone, image, options, context, weights, schedule, alignment, extras).run()


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


class Training(UpdateLoop):
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
        schedule: UpdatePlan | None,
        alignment: type[Alignment],
        extras: tuple[Rate | None, ExtraLoss | None] = (None, None),
    ) -> None:
        facts = options.digest() + (weights.digest() if weights else "")
        identity = training_identity(facts, plan, concepts, backbone, image, context)
        super().__init__(plan, backbone, context, identity, weights, train_tokens=options.train_tokens)
        self.rows.coordinates = word_coordinates(backbone, options.word_axes)
        self.options, self.alignment = options, alignment
        self.slope, self.extra_loss = extras
        self.prompts: dict[tuple[int, ...], Prompt] = {}
        self.schedule = schedule or paper_schedule(
            plan, options, fitting_groups(backbone, plan.tokens, options.template, plan.num_vectors)
        )
        # A coordinate's unit is a deviation of words along its axis.
        unit = 1.0 if options.word_axes else rate_unit(backbone, options.rate_unit)
        self.rate = options.learning_rate * unit
        self.longest = self._longest()
        self.objective = self._objective(concepts, image)
        self.terms = self.objective.terms

    @property
    def total(self) -> int:
        return self.schedule.total

    def updates(self) -> Iterator[Update]:
        return self.schedule.updates(self.done)

    def step(self, update: Update) -> Tensor:
        prompts = [self._prompt(rows) for rows in update.prompts]
        draws = self.objective.draws(self.context, update)
        split = update.phase == "split"
        terms = self.objective.backward(self.rows, prompts, update.prompts, draws, split, update.step)
        options, share, scale = self.options, self._share(update), self.objective.scale
        if options.train_tokens:
            self.rows.update(self.rate * share, options.weight_decay, options.clip, scale)
            self.rows.limit(self.longest)
        if self.weights:
            self.weights.update(share, scale)
        return terms

    def _longest(self) -> dict[str, float]:
        """Per text encoder the longest that a vector may be; empty for no limit."""
        if not self.options.norm_limit:
            return {}
        tables = {encoder: self.backbone.embedding_table(encoder) for encoder in self.backbone.encoders}
        lengths = {encoder: float(table.float().norm(dim=1).median()) for encoder, table in tables.items()}
        return {encoder: self.options.norm_limit * length for encoder, length in lengths.items()}

    def _share(self, update: Update) -> float:
        """What is left of the learning rate."""
        last = self.options.cool_down * self.total
        share = min(1.0, (self.total + 1 - update.number) / max(last, 1.0))
        return share if self.slope is None else share * checked_rate(self.slope, update.number, self.total)

    def _prompt(self, rows: tuple[int, ...]) -> Prompt:
        """The prompt that shows token rows; tokenised once."""
        if rows not in self.prompts:
            words = {self.plan.tokens[row % len(self.plan.tokens)]: self.rows.slots(row) for row in rows}
            self.prompts[rows] = read_prompt(self.backbone, self.options.template.format(" and ".join(words)), words)
        return self.prompts[rows]

    def _objective(self, concepts: Concepts, image: Picture) -> Objective:
        backbone, options = self.backbone, self.options
        pictures = [(image, concepts), *((one.image, one.concepts) for one in self.context.sightings)]
        views = Views.of_all(
            [Views.make(backbone, found, one, options.margin, options.zoom) for one, found in pictures]
        )
        alignments: list[Alignment] = []
        if options.attention_weight > 0 and options.steps > 0:
            probe = backbone.tokenize("")
            alignments = [self.alignment.prepare(backbone, found, probe, options) for _, found in pictures]
        first, others = (alignments[0], alignments[1:]) if alignments else (None, ())
        return Objective(backbone, options, views, first, self.micro_batch, self.extra_loss, others)
