"""What every training of token rows shares: updates in order, history, checkpoints and events.

Nothing waits for the device (losses become numbers at intervals), and everything that chance decides depends on the
update's number, so that an interrupted training continues with the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from uce.core.errors import DivergedError, StageInputError
from uce.core.flow.context import Context
from uce.core.flow.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.flow.events import Enough, Step, Stopped
from uce.core.model.backbone import Backbone
from uce.core.training.model_weights import ModelWeights
from uce.core.training.rows import TokenRows
from uce.core.training.schedule import Update

log = logging.getLogger(__name__)

FLUSH_EVERY = 50
"""Updates between two looks at the losses on an accelerator; a look waits for the device."""


def require_concepts(plan: TokenPlan, concepts: Concepts) -> None:
    """What every training asks of its input.

    Raises:
        StageInputError: no concepts, or a plan for another number of them.
    """
    if len(concepts) == 0:
        raise StageInputError("there is no concept to learn; localise again with other settings, or add a mask")
    if len(plan.tokens) != len(concepts):
        raise StageInputError(f"the plan names {len(plan.tokens)} tokens for {len(concepts)} concepts; they must agree")


def rate_unit(backbone: Backbone, unit: str) -> float:
    """What a learning rate is multiplied by: 1 for "absolute"; for "vocabulary" the standard deviation of the entries
    of the model's own token embeddings (mean over text encoders)."""
    if unit == "absolute":
        return 1.0
    tables = [backbone.embedding_table(encoder) for encoder in backbone.encoders]
    return sum(float(table.float().std()) for table in tables) / len(tables)


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


class UpdateLoop(ABC):
    """A training while it runs. A subclass says which updates there are and what one does.

    Attributes:
        terms: names of the losses that `step` returns, "total" among them.
        rows: what is learned.
        done: updates that were done before, in an interrupted run.
        micro_batch: prompts per UNet pass, as the interrupted run had them.
    """

    terms: Sequence[str]

    def __init__(
        self,
        plan: TokenPlan,
        backbone: Backbone,
        context: Context,
        identity: str,
        weights: ModelWeights | None = None,
        *,
        train_tokens: bool = True,
    ) -> None:
        """
        Args:
            identity: what a checkpoint must belong to.
            weights: tensors of the model that `step` updates, too.
            train_tokens: whether the rows take a gradient.
        """
        self.plan, self.backbone, self.context, self.identity = plan, backbone, context, identity
        self.weights = weights
        self.rows = TokenRows(plan.starts, backbone.device, trained=train_tokens)
        self.history: list[dict[str, float | int | str]] = []
        self.pending: list[tuple[Update, Tensor]] = []
        self.micro_batch = context.micro_batch or choose_micro_batch(backbone)
        self.done = self._restore()

    @property
    @abstractmethod
    def total(self) -> int:
        """Updates altogether."""

    @abstractmethod
    def updates(self) -> Iterator[Update]:
        """Those after `done`."""

    @abstractmethod
    def step(self, update: Update) -> Tensor:
        """Do one update of the rows; returns its losses, detached, in the order of `terms`."""

    def run(self) -> LearnedConcepts:
        """All updates that are left.

        Raises:
            DivergedError: a loss, or what is learned, is not finite. Checkpoints hold good states alone.
        """
        every = self.context.checkpoint_every
        for update in self.updates():
            if update.phase != "split":
                self._merge()
            terms = self.step(update)
            self.pending.append((update, terms))
            if len(self.pending) >= self._flush_every:
                self._flush()
            losses = dict(zip(self.terms, terms.unbind(), strict=True))
            try:
                self.context.emit(Step(update.number, self.total, update.phase, losses, self._tokens))
            except Enough:
                break
            except Stopped:  # between two updates: nothing is half done, and nothing need be done again
                if every:
                    self._save(update.number)
                raise
            if every and update.number % every == 0:
                self._save(update.number)
        self._flush()
        self._merge()
        learned = self.rows.of_concepts(self.rows.vectors)
        embeddings = {encoder: rows.detach().cpu() for encoder, rows in learned.items()}
        trained = self.weights.export() if self.weights else None
        return LearnedConcepts(self.plan.tokens, embeddings, trained, tuple(self.history))

    def _tokens(self) -> dict[str, dict[str, Tensor]]:
        """What the tokens are now, for observers."""
        rows = self.rows.of_concepts(self.rows.averages())
        return {t: {e: rows[e][k].cpu() for e in rows} for k, t in enumerate(self.plan.tokens)}

    @property
    def _flush_every(self) -> int:
        return 1 if torch.device(self.backbone.device).type == "cpu" else FLUSH_EVERY

    def _merge(self) -> None:
        if self.rows.num_rows > self.rows.merged_rows:
            self.rows.merge()

    def _flush(self) -> None:
        """Turn pending losses into numbers.

        Raises:
            DivergedError: one is not finite.
        """
        if not self.pending:
            return
        values = torch.stack([terms for _, terms in self.pending]).tolist()
        for (update, _), row in zip(self.pending, values, strict=True):
            losses = dict(zip(self.terms, row, strict=True))
            if not math.isfinite(losses["total"]):
                what = "loss" if math.isfinite(losses.get("extra", 0.0)) else "plugin's extra loss"
                raise DivergedError(f"the {what} of update {update.number} is not finite; {self._advice}")
            head: dict[str, float | int | str] = {"update": update.number, "phase": update.phase, "step": update.step}
            self.history.append(head | losses)
        last = self.pending[-1][0].number
        self.pending.clear()
        if not all(bool(torch.isfinite(rows).all()) for rows in self.rows.vectors.values()):
            raise DivergedError(f"update {last} made a token that is not finite; {self._advice}")

    @property
    def _advice(self) -> str:
        slower = "try a lower optimizer.learning_rate"
        return slower if self.backbone.precision == "float32" else f"{slower} or --precision float32"

    def _save(self, number: int) -> None:
        self._flush()
        values = {
            "identity": self.identity,
            "update": number,
            "micro_batch": self.micro_batch,
            "history": list(self.history),
        }
        tensors = self.rows.tensors() | (self.weights.tensors() if self.weights else {})
        for name, value in tensors.items():
            if not torch.isfinite(value).all():
                raise DivergedError(f"{name} is not finite after update {number}; {self._advice}")
        self.context.checkpoint.save(tensors, values)
        log.debug("checkpoint after update %d", number)

    def _restore(self) -> int:
        """Take up the saved state, if it belongs to this training; returns how many updates it holds."""
        state: tuple[dict[str, Tensor], dict[str, Any]] | None = self.context.checkpoint.load()
        if state is None or state[1].get("identity") != self.identity:
            return 0
        tensors, values = state
        if not self._sound(tensors, values):
            log.warning("the checkpoint is damaged; learning begins anew")
            return 0
        self.rows.restore(tensors, values["update"])
        if self.weights:
            self.weights.restore(tensors, values["update"])
        self.history = list(values["history"])
        self.micro_batch = values["micro_batch"]
        log.info("learning goes on after update %d", values["update"])
        return int(values["update"])

    def _sound(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> bool:
        """Whether a checkpoint holds all that a training needs, in shapes that fit it."""
        update, history, micro_batch = (values.get(key) for key in ("update", "history", "micro_batch"))
        if type(update) is not int or type(micro_batch) is not int or not isinstance(history, list):
            return False
        if update < 1 or micro_batch < 1 or len(history) != update:
            return False
        if not all(isinstance(row, dict) and row.get("update") == n for n, row in enumerate(history, start=1)):
            return False
        merged = {name: value[: self.rows.merged_rows] for name, value in self.rows.tensors().items()}
        weights = self.weights.tensors() if self.weights else {}
        return any(
            all(name in tensors and _fits(tensors[name], value, name) for name, value in (rows | weights).items())
            for rows in (self.rows.tensors(), merged)
        ) and all(tensors[f"first.{e}"].shape == tensors[f"second.{e}"].shape for e in self.rows.vectors)


def _fits(found: Tensor, wanted: Tensor, name: str) -> bool:
    """Whether a tensor is of the right kind; moments of token rows are as wide as the frame that AdamW works in, which
    is at most as wide as the rows."""
    moments = name.startswith(("first.", "second."))
    shapes = found.dim() == 2 and len(found) == len(wanted) and 1 <= found.shape[1] <= wanted.shape[1]
    fits = shapes if moments else found.shape == wanted.shape
    return found.dtype == wanted.dtype and fits and bool(torch.isfinite(found).all())


def identity_of(facts: str, tensors: Sequence[Tensor], context: Context, backbone: Backbone) -> str:
    """Hash of everything that a training depends on.

    Args:
        facts: a digest of its settings.
        tensors: starts, masks, pixels: whatever it learns from.
    """
    digest = hashlib.sha256(f"{facts}/{context.seed}/{backbone.fingerprint}".encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
