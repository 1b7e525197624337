"""Plain textual inversion: every token alone learns to denoise a picture of its own, without masks in the loss.

    loss = sum over concepts of the mean over its prompts of the mean squared error

Rows of different concepts never meet in a prompt, and AdamW works number by number, so that one update of all concepts
is what an update of each alone would be.

Legend: K concepts; B prompts per concept and update; P = K * B; C, h, w latent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uce.core.files.masks import mask_box
from uce.core.flow.context import Context
from uce.core.flow.data import Concepts, TokenPlan
from uce.core.flow.picture import Picture, read_picture
from uce.core.model.abilities import read_prompt, times
from uce.core.model.backbone import Backbone, Prompt
from uce.core.model.latents import encode_with_mirror
from uce.core.training.objective import Draws
from uce.core.training.schedule import Update
from uce.core.training.updates import UpdateLoop, identity_of, rate_unit, require_concepts

Fill = Literal["keep", "white", "grey", "mean"]


@dataclass(frozen=True)
class CropOptions:
    """The numbers of a training on crops.

    Attributes:
        steps: updates; each visits every concept.
        learning_rate, weight_decay: of AdamW.
        rate_unit: as `TrainingOptions.rate_unit`.
        batch: prompts per concept and update.
        source: "crop": each concept's own crop; "picture": the whole picture for every concept.
        margin: what a crop shows beyond the mask's box on every side, as a share of the box's longer side.
        fill: what stands where the mask does not: the picture's own ("keep"), a plain colour, or the mask's mean.
        flip: probability of mirroring.
        templates: prompts, of which each draw takes one; "{}" stands for the token.
    """

    steps: int
    learning_rate: float
    rate_unit: Literal["absolute", "vocabulary"]
    weight_decay: float
    batch: int
    source: Literal["crop", "picture"]
    margin: float
    fill: Fill
    flip: float
    templates: Sequence[str]

    def digest(self) -> str:
        """Hash of all values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def crop_frame(mask_HW: npt.NDArray[np.bool_], margin: float) -> tuple[slice, slice]:
    """Rows and columns of a square around a mask, pushed into the picture, cut where it does not fit."""
    spans = mask_box(mask_HW)
    side = max(1, round(max(end - start for start, end in spans) * (1 + 2 * margin)))
    frame = []
    for (start, end), length in zip(spans, mask_HW.shape, strict=True):
        first = min(max((start + end - side) // 2, 0), max(length - side, 0))
        frame.append(slice(first, min(first + side, length)))
    return frame[0], frame[1]


def concept_crop(
    original: npt.NDArray[np.uint8], mask_HW: npt.NDArray[np.bool_], margin: float, fill: Fill
) -> npt.NDArray[np.uint8]:
    """The picture around a mask, uint8 RGB, with what is not the concept's filled."""
    frame = crop_frame(mask_HW, margin)
    crop, inside = original[frame].copy(), mask_HW[frame]
    if fill != "keep":
        colour = {"white": 255, "grey": 127}.get(fill)
        crop[~inside] = crop[inside].mean(axis=0).round() if colour is None else colour
    return crop


class CropTraining(UpdateLoop):
    """State of a training while it runs."""

    terms = ("mse", "total")

    def __init__(
        self,
        plan: TokenPlan,
        concepts: Concepts,
        backbone: Backbone,
        image: Picture,
        options: CropOptions,
        context: Context,
    ) -> None:
        """
        Raises:
            StageInputError: no concepts, or a plan for another number of them.
        """
        require_concepts(plan, concepts)
        self.options = options
        pixels_K = [image.pixels] * len(concepts)
        if options.source == "crop":
            crops = [
                concept_crop(image.original, mask.cpu().numpy(), options.margin, options.fill)
                for mask in image.masks_of(concepts)
            ]
            pixels_K = [read_picture(crop, backbone.picture_side, "pad").pixels for crop in crops]
        learned_from = (*plan.starts.values(), *pixels_K)
        super().__init__(plan, backbone, context, identity_of(options.digest(), learned_from, context, backbone))
        self.rate = options.learning_rate * rate_unit(backbone, options.rate_unit)
        self.latents = self._encode(pixels_K)
        self.prompts = [
            [
                read_prompt(backbone, template.format(token), {token: self.rows.slots(k)})
                for template in options.templates
            ]
            for k, token in enumerate(plan.tokens)
        ]

    @property
    def total(self) -> int:
        return self.options.steps

    def updates(self) -> Iterator[Update]:
        shown = tuple((k,) for k in range(len(self.plan.tokens)) for _ in range(self.options.batch))
        for number in range(self.done + 1, self.options.steps + 1):
            yield Update(number, number, self.options.source, shown)

    def step(self, update: Update) -> Tensor:
        draws, texts = self._draws(update)
        shown = [rows[0] for rows in update.prompts]
        prompts = [self.prompts[k][text] for k, text in zip(shown, texts, strict=True)]
        scale = float(self.latents[0, 0].numel()) if self.backbone.precision == "float16" else 1.0  # as Objective.scale
        total = torch.zeros((), device=self.latents.device)
        for start in range(0, len(prompts), self.micro_batch):
            part = slice(start, start + self.micro_batch)
            chunk = Draws(draws.timesteps[part], draws.noise[part], draws.flips[part])
            loss = self._errors(prompts[part], shown[part], chunk).sum() / self.options.batch
            (loss * scale).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.rows.update(self.rate, self.options.weight_decay, clip=0.0, scale=scale)
        return torch.stack([total / len(self.plan.tokens), total])

    def _draws(self, update: Update) -> tuple[Draws, list[int]]:
        """What chance decides about an update, by its number only: also the template of each prompt."""
        num_prompts = len(update.prompts)
        generator = self.context.generator(salt=f"update {update.number}")
        timesteps = torch.randint(0, self.backbone.num_timesteps, (num_prompts,), generator=generator)
        noise = torch.randn(num_prompts, *self.latents.shape[2:], generator=generator)
        flips = torch.rand(num_prompts, generator=generator) < self.options.flip
        texts = torch.randint(0, len(self.options.templates), (num_prompts,), generator=generator)
        return Draws(times(self.backbone, timesteps), noise, flips), texts.tolist()

    def _errors(self, prompts: Sequence[Prompt], shown: Sequence[int], draws: Draws) -> Tensor:
        """One UNet pass: mean squared error of each prompt."""
        device = self.latents.device
        timesteps, noise = draws.timesteps.to(device), draws.noise.to(device)
        latents = self.latents[torch.tensor(shown, device=device), draws.flips.long().to(device)]
        noisy = self.backbone.add_noise(latents, noise, timesteps)
        conditioning = self.backbone.encode_prompts(prompts, self.rows.vectors)
        prediction = self.backbone.predict(noisy, timesteps, conditioning)
        target = self.backbone.target(latents, noise, timesteps)
        return (prediction.float() - target.float()).square().flatten(1).mean(dim=1)

    @torch.no_grad()
    def _encode(self, pixels_K: Sequence[Tensor]) -> Tensor:
        """Latents of each picture and its mirror image, (K, 2, C, h, w); the same picture is encoded once."""
        found: dict[int, Tensor] = {}
        for pixels in pixels_K:
            if id(pixels) not in found:
                found[id(pixels)] = encode_with_mirror(self.backbone, pixels)
        return torch.stack([found[id(pixels)] for pixels in pixels_K])
