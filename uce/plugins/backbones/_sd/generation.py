"""Drawing pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.core import Conditioning, Inpainting, Part, Prompt, Regions, StageInputError
from uce.core.model import DEFAULT_SCHEDULER, draws_noise, joined, make_scheduler, parts_of, regions_of, seen_by

Report = Callable[[int, int], None]
"""Called after every step with its number, from 1, and the number of all."""


class Sample(Protocol):
    """One picture's latents: of its prompt, or of the parts that its regions have; after `last` steps, or after all."""

    def __call__(
        self, prompt: str, seed: int, report: Report, parts: Sequence[Part] = (), last: int | None = None
    ) -> Tensor: ...


class Drawer(Protocol):
    """What drawing needs of a backbone; see `uce.core.model.backbone.Backbone`."""

    device: str
    encoders: tuple[str, ...]
    latent_side: int
    latent_channels: int
    scheduler_config: dict[str, Any]

    def tokenize_multi(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt: ...

    def encode_prompts(
        self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None
    ) -> Conditioning: ...

    def without_guidance(self, conditioning: Conditioning) -> Conditioning: ...

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Drawing:
    """How pictures are drawn; see `uce.core.model.backbone.Backbone.generate`."""

    steps: int = 25
    guidance: float = 5.0
    negative: str = ""
    scheduler: str = DEFAULT_SCHEDULER
    into: Inpainting | None = None
    regions: Regions | None = None


@torch.no_grad()
def generate(
    backbone: Drawer,
    prompts: Sequence[str],
    tokens: Mapping[str, Mapping[str, Tensor]],
    *,
    seeds: Sequence[int],
    how: Drawing,
    on_step: Any,
) -> list[Image.Image]:
    """One picture per prompt with classifier-free guidance, on the model's own noise schedule.

    Raises:
        StageInputError: another number of seeds, or no steps.
    """
    require_drawable(prompts, seeds, how.steps)
    vectors, slots = stack_vectors(tokens, backbone.encoders)

    def sample(prompt: str, seed: int, report: Report, parts: Sequence[Part] = (), last: int | None = None) -> Tensor:
        own = [part.text for part in parts] or [prompt]
        texts = own if how.guidance == 1 else [how.negative, *own]
        conditioning = backbone.encode_prompts([backbone.tokenize_multi(text, slots) for text in texts], vectors)
        if how.guidance != 1 and not how.negative:
            conditioning = backbone.without_guidance(conditioning)
        return _sample(backbone, conditioning, seed, how, report, parts, last)

    return draw_each(backbone, prompts, seeds, slots, how, on_step, sample)


def require_drawable(prompts: Sequence[str], seeds: Sequence[int], steps: int) -> None:
    """Refuse what no picture can be drawn from.

    Raises:
        StageInputError: another number of seeds, or no steps.
    """
    if len(seeds) != len(prompts):
        raise StageInputError(f"{len(prompts)} prompts need as many seeds, found {len(seeds)}")
    if steps < 1:
        raise StageInputError(f"steps must be at least 1, found {steps}")


def draw_each(
    backbone: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    slots: Mapping[str, Sequence[int]],
    how: Drawing,
    on_step: Any,
    sample: Sample,
) -> list[Image.Image]:
    """Pictures one after the other, in regions where `how` has some: each depends on its seed and prompt alone.

    Args:
        slots: the learned vectors that each token stands for.
        on_step: as of `Backbone.generate`; steps are counted over all pictures.
        sample: reports its own steps.
    """

    def draw(prompt: str, seed: int, report: Report) -> Tensor:
        def first_steps(last: int, report: Report) -> Tensor:
            return sample(prompt, seed, report, last=last)

        masks = regions_of(backbone, prompt, how.regions, slots, how.steps, first_steps)
        return sample(prompt, seed, report, parts_of(prompt, masks))

    pictures = []
    for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):

        def report(step: int, total: int, index: int = index) -> None:
            if on_step is not None:
                on_step(index * total + step, len(prompts) * total)

        pictures.append(_to_picture(backbone.decode(draw(prompt, int(seed), report))[0]))
    return pictures


def _sample(
    backbone: Drawer,
    conditioning: Conditioning,
    seed: int,
    how: Drawing,
    report: Report,
    parts: Sequence[Part],
    last: int | None,
) -> Tensor:
    """Latents after `last` steps, or after all."""
    side = backbone.latent_side
    generator = torch.Generator("cpu").manual_seed(seed)  # the CPU's stream is the same on every machine
    scheduler = make_scheduler(how.scheduler, backbone.scheduler_config)
    scheduler.set_timesteps(how.steps, device=backbone.device)
    noise = torch.randn(1, backbone.latent_channels, side, side, generator=generator).to(backbone.device)
    x_t: Tensor = noise * scheduler.init_noise_sigma
    batch = conditioning.states.shape[0]
    drawing = {"generator": generator} if draws_noise(scheduler) else {}
    total = len(scheduler.timesteps)  # more than `steps` for a method of second order
    for number, timestep in enumerate(scheduler.timesteps[:last], start=1):
        scaled = scheduler.scale_model_input(x_t, timestep)
        prediction = backbone.predict(shown(scaled, batch, parts), timestep.expand(batch), conditioning)
        if parts:
            prediction = joined(prediction, parts)
        if len(prediction) == 2:
            free, guided = prediction.chunk(2)
            prediction = free + how.guidance * (guided - free)
        x_t = scheduler.step(prediction, timestep, x_t, return_dict=False, **drawing)[0]
        if how.into is not None:
            x_t = _kept_outside(x_t, how.into, noise, scheduler, scheduler.timesteps[number : number + 1])
        report(number, total)
    return x_t


def shown(latents: Tensor, batch: int, parts: Sequence[Part]) -> Tensor:
    """What a pass of `batch` prompts is given, (batch, C, h, w): the last ones are the parts'."""
    plain = latents.expand(batch - len(parts), -1, -1, -1)
    return torch.cat([plain, seen_by(latents, parts)]) if parts else plain


def _kept_outside(x_t: Tensor, into: Inpainting, noise: Tensor, scheduler: Any, timestep: Tensor) -> Tensor:
    """Outside the mask: the picture that is kept, as noisy as `x_t` is (Avrahami et al., Blended Latent Diffusion)."""
    kept = into.latents.to(x_t)
    if len(timestep):
        kept = scheduler.add_noise(kept, noise, timestep)
    mask = into.mask.to(x_t)
    return mask * x_t + (1 - mask) * kept


def token_vectors(token: str, own: Mapping[str, Tensor], encoders: Sequence[str]) -> dict[str, Tensor]:
    """One token's vectors, float32 (n, d) per text encoder of the model.

    Raises:
        StageInputError: an encoder has none, or not as many as another.
    """
    vectors = {e: own[e].detach().reshape(-1, own[e].shape[-1]).float() for e in encoders if e in own}
    if len(vectors) != len(encoders) or len({len(vector) for vector in vectors.values()}) != 1:
        found = ", ".join(f"{len(vector)} for {e}" for e, vector in vectors.items()) or ", ".join(own) or "none"
        raise StageInputError(
            f"token {token} needs equally many vectors for each text encoder of this model ({', '.join(encoders)}), "
            f"found {found}; give tokens that were learned on this kind of model"
        )
    return vectors


def stack_vectors(
    tokens: Mapping[str, Mapping[str, Tensor]], encoders: Sequence[str]
) -> tuple[dict[str, Tensor] | None, dict[str, list[int]]]:
    """All tokens' vectors as one (V, d) table per text encoder, and which rows each token stands for."""
    rows: dict[str, list[Tensor]] = {encoder: [] for encoder in encoders}
    slots: dict[str, list[int]] = {}
    start = 0
    for token, own in tokens.items():
        vectors = token_vectors(token, own, encoders)
        for encoder, vector in vectors.items():
            rows[encoder].append(vector)
        num = len(vectors[encoders[0]])
        slots[token] = list(range(start, start + num))
        start += num
    return ({encoder: torch.cat(found) for encoder, found in rows.items()} if tokens else None), slots


def _to_picture(pixels: Tensor) -> Image.Image:
    values = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy()))
