"""The loss of one optimiser update and its gradient on the token rows.

    loss = mean over prompts ( masked squared error + attention_weight * sum over shown tokens of the alignment )
           + contrastive_weight * contrastive          (while tokens are split)
           + extra                                     (where a plugin brings one)

With one prompt per update that is the paper's loss.

Legend: P prompts of an update; B prompts of one UNet pass; C, h, w latent; K concepts; M shown tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.context import Context
from uce.core.model.abilities import times
from uce.core.model.backbone import Backbone, Prompt
from uce.core.training.alignment import Alignment
from uce.core.training.contrastive import supervised_contrastive
from uce.core.training.extras import ExtraLoss, UpdateView, checked_loss
from uce.core.training.options import TrainingOptions
from uce.core.training.rows import TokenRows
from uce.core.training.schedule import Update
from uce.core.training.views import Views

TERMS = ("masked_mse", "attention", "contrastive", "total")


@dataclass(frozen=True, eq=False)
class Draws:
    """What chance decides about an update, drawn on the CPU so that every device sees the same.

    Attributes:
        timesteps: int64 (P,), or float where the model's times are.
        noise: float32 (P, C, h, w).
        flips: bool (P,).
    """

    timesteps: Tensor
    noise: Tensor
    flips: Tensor


def spread_timesteps(starts_P: Tensor, visit: int, low: int, high: int) -> Tensor:
    """Timesteps of each prompt's `visit`: multiples of the golden ratio from its start, which cover [low, high) evenly
    after any number of visits (Kronecker's sequence)."""
    share = (starts_P.double() + visit * (5**0.5 - 1) / 2) % 1
    return (low + share * (high - low)).long().clamp(max=high - 1)


def masked_squared_error(prediction_BChw: Tensor, target_BChw: Tensor, mask_B1hw: Tensor, area: str) -> Tensor:
    """Squared error inside the mask per prompt, (B,), over all elements of the latent or over the mask's."""
    squared = (prediction_BChw * mask_B1hw - target_BChw * mask_B1hw).square().flatten(1)
    if area == "elements":
        return squared.mean(dim=1)
    inside = mask_B1hw.flatten(1).sum(dim=1) * prediction_BChw.shape[1]
    return squared.sum(dim=1) / inside.clamp_min(1)


@dataclass(frozen=True, eq=False)
class Objective:
    """What stays the same in every update.

    Attributes:
        views: what prompts see.
        alignment: None where the attention term has no weight: then no attention map is kept.
        micro_batch: prompts per UNet pass.
        extra_loss: a plugin's own term, or None.
        elsewhere: the alignment with the maps of each further picture.
    """

    backbone: Backbone
    options: TrainingOptions
    views: Views
    alignment: Alignment | None
    micro_batch: int
    extra_loss: ExtraLoss | None = None
    elsewhere: Sequence[Alignment] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of an update's losses."""
        return TERMS if self.extra_loss is None else (*TERMS[:-1], "extra", TERMS[-1])

    @property
    def scale(self) -> float:
        """float16 gradients of a mean over all elements vanish; the loss is multiplied by this before backward."""
        return float(self.views.latents[0, 0].numel()) if self.backbone.precision == "float16" else 1.0

    def draws(self, context: Context, update: Update) -> Draws:
        """What chance decides about an update; by its number only, so that a resumed run sees the same."""
        num_prompts, last = len(update.prompts), self.backbone.num_timesteps
        low = min(int(self.options.noise_low * last), last - 1)
        high = max(round(self.options.noise_high * last), low + 1)
        generator = context.generator(salt=f"update {update.number}")
        timesteps = torch.randint(low, high, (num_prompts,), generator=generator)
        noise = torch.randn(num_prompts, *self.views.latents.shape[2:], generator=generator)
        flips = torch.rand(num_prompts, generator=generator) < self.options.flip
        if self.options.timesteps == "spread":
            starts = [context.generator(salt=f"timesteps of {rows}") for rows in update.prompts]
            starts_P = torch.cat([torch.rand(1, generator=start) for start in starts])
            timesteps = spread_timesteps(starts_P, update.step, low, high)
        return Draws(times(self.backbone, timesteps), noise, flips)

    def backward(
        self,
        rows: TokenRows,
        prompts: Sequence[Prompt],
        shown: Sequence[tuple[int, ...]],
        draws: Draws,
        split: bool,
        turn: int = 0,
    ) -> Tensor:
        """Add the gradient of the update's loss to the rows.

        Args:
            prompts: P prompts, whose slots are token rows.
            shown: the rows that each shows.
            split: whether the contrastive term counts.
            turn: by which pictures take turns, where there are several.

        Returns:
            detached, (number of terms,): unweighted but for the total.
        """
        device = self.views.latents.device
        terms = torch.zeros(3, device=device)
        contrastive = torch.zeros((), device=device)
        if split and self.options.contrastive_weight > 0:
            contrastive = self._contrastive(rows)
            (contrastive * (self.options.contrastive_weight * self.scale)).backward()  # type: ignore[no-untyped-call]
        for start in range(0, len(prompts), self.micro_batch):
            part = slice(start, start + self.micro_batch)
            chunk = Draws(draws.timesteps[part], draws.noise[part], draws.flips[part])
            mse, attention, extra = self.losses(rows, prompts[part], shown[part], chunk, turn)
            loss = (mse + self.options.attention_weight * attention + extra) / len(prompts)
            (loss * self.scale).backward()  # type: ignore[no-untyped-call]
            terms += torch.stack([mse.detach(), attention.detach(), extra.detach()]) / len(prompts)
        mse, attention, extra = terms
        contrastive = contrastive.detach()
        total = mse + self.options.attention_weight * attention + self.options.contrastive_weight * contrastive
        if self.extra_loss is None:
            return torch.stack([mse, attention, contrastive, total])
        return torch.stack([mse, attention, contrastive, extra, total + extra])

    def losses(
        self,
        rows: TokenRows,
        prompts: Sequence[Prompt],
        shown: Sequence[tuple[int, ...]],
        draws: Draws,
        turn: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One UNet pass: masked squared error, alignment and extra loss, each summed over the prompts.

        Only prompts that see a whole picture are aligned, each with that picture's maps.
        """
        device = self.views.latents.device
        seen, per_picture = self.views.seen(shown, turn), self.views.per_picture
        timesteps, noise, flips = (_move(x, device) for x in (draws.timesteps, draws.noise, draws.flips.long()))
        view_B = _move(torch.tensor(seen), device)
        latents_BChw = self.views.latents[view_B, flips]
        noisy = self.backbone.add_noise(latents_BChw, noise, timesteps)
        conditioning = self.backbone.encode_prompts(prompts, rows.vectors)
        attention = torch.zeros((), device=device)
        if self.alignment is None or all(view % per_picture for view in seen):
            prediction = self.backbone.predict(noisy, timesteps, conditioning)
        else:
            columns_BM, pairs = token_columns(prompts, shown, draws.flips.tolist(), rows)
            with self.backbone.capture(self.alignment.capture(columns_BM)) as maps:
                prediction = self.backbone.predict(noisy, timesteps, conditioning)
            for picture, alignment in enumerate((self.alignment, *self.elsewhere)):
                whole = [pair for pair in pairs if seen[pair[0]] == picture * per_picture]
                attention = attention + alignment.losses(maps, whole).sum() / rows.num_vectors if whole else attention
        mask_B1hw = _move(self._shown(shown, rows.num_concepts), device)
        union_B1hw = torch.einsum("bk,bkhw->bhw", mask_B1hw, self.views.masks[view_B, flips]).clamp(max=1)[:, None]
        target = self.backbone.target(latents_BChw, noise, timesteps)
        error_B = masked_squared_error(prediction.float(), target.float(), union_B1hw, self.options.loss_area)
        extra = torch.zeros((), device=device)
        if self.extra_loss is not None:
            view = UpdateView(
                rows.vectors, prompts, latents_BChw, noise, timesteps, prediction, target, union_B1hw, self.backbone
            )
            extra = checked_loss(self.extra_loss, view) * len(prompts)
        return error_B.sum(), attention, extra

    @staticmethod
    def _shown(shown: Sequence[tuple[int, ...]], num_concepts: int) -> Tensor:
        """float (B, K): 1 where a prompt shows a concept."""
        chosen = torch.zeros(len(shown), num_concepts)
        for i, rows in enumerate(shown):
            for row in rows:
                chosen[i, row % num_concepts] = 1
        return chosen

    def _contrastive(self, rows: TokenRows) -> Tensor:
        """Mean over text encoders."""
        # Of a concept's several vectors each has partners of its own: they need not be alike.
        labels = torch.arange(rows.num_rows, device=self.views.latents.device) % rows.merged_rows
        each = [supervised_contrastive(x, labels, self.options.temperature) for x in rows.vectors.values()]
        return torch.stack(each).mean()


def token_columns(
    prompts: Sequence[Prompt], shown: Sequence[tuple[int, ...]], flips: Sequence[bool], rows: TokenRows
) -> tuple[Tensor, list[tuple[int, int, int, int]]]:
    """Text positions of the shown tokens' vectors, (B, M) padded with each prompt's first, and the pairs to align.

    Raises:
        StageInputError: the picture attends to no token, since the model reads only a summary of its text encoder.
    """
    width = max(map(len, shown)) * rows.num_vectors
    columns, pairs = [], []
    for i, (prompt, own) in enumerate(zip(prompts, shown, strict=True)):
        places = [prompt.positions(slot) for row in own for slot in rows.slots(row)]
        if not all(places):
            raise StageInputError(
                "the picture attends to no position of this token, since the model reads only a summary of that text "
                "encoder; set optimizer.attention_weight=0, or let the token live in t5 (model.carriers)"
            )
        positions = [place[0] for place in places]
        columns.append(positions + positions[:1] * (width - len(positions)))
        concepts = [row % rows.num_concepts for row in own for _ in range(rows.num_vectors)]
        pairs += [(i, j, int(flips[i]), concept) for j, concept in enumerate(concepts)]
    return torch.tensor(columns), pairs


def _move(x: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
