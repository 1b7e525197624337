"""Drawing pictures along a flow, as the model's own pipeline does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from uce.core import Conditioning, Part, Prompt, StageInputError
from uce.core.model import joined, resolve_dtype
from uce.plugins.backbones._sd.generation import (
    Drawing,
    Report,
    draw_each,
    require_drawable,
    shown,
    stack_vectors,
)
from uce.plugins.backbones._transformer.flow import Flow, require_flow_scheduler


class Drawer(Protocol):
    """What drawing asks of a backbone."""

    model: str
    device: str
    precision: str
    encoders: tuple[str, ...]
    latent_side: int
    latent_channels: int
    flow: Flow
    even_times: bool

    @property
    def takes_negative(self) -> bool: ...

    def tokenize_multi(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt: ...

    def encode_prompts(
        self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None
    ) -> Conditioning: ...

    def guided(self, conditioning: Conditioning, guidance: float) -> Conditioning: ...

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


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
    """One picture per prompt.

    Raises:
        StageInputError: another number of seeds, no steps, or a negative text for a model that takes none.
        ConfigError: a scheduler that does not follow a flow.
    """
    require_flow_scheduler(how.scheduler)
    require_drawable(prompts, seeds, how.steps)
    if how.negative and not backbone.takes_negative:
        raise StageInputError(
            f"model '{backbone.model}' is guided by a number that it reads, not away from a text; leave --negative out"
        )
    vectors, slots = stack_vectors(tokens, backbone.encoders)

    def sample(prompt: str, seed: int, report: Report, parts: Sequence[Part] = (), last: int | None = None) -> Tensor:
        twice = how.guidance > 1 and backbone.takes_negative
        own = [part.text for part in parts] or [prompt]
        texts = [how.negative, *own] if twice else own
        read = [backbone.tokenize_multi(text, slots) for text in texts]
        conditioning = backbone.guided(backbone.encode_prompts(read, vectors), how.guidance)
        return _sample(backbone, conditioning, seed, how, report, parts, last)

    return draw_each(backbone, prompts, seeds, slots, how, on_step, sample)


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
    side, batch = backbone.latent_side, conditioning.states.shape[0]
    generator = torch.Generator("cpu").manual_seed(seed)  # the CPU's stream is the same on every machine
    scheduler = backbone.flow.sampler(how.steps, (side // 2) ** 2, backbone.device, even=backbone.even_times)
    shape = (1, backbone.latent_channels, side, side)
    noise = torch.randn(shape, generator=generator, dtype=resolve_dtype(backbone.precision))
    noise = noise.to(backbone.device, torch.float32)
    x_t, total = noise, len(scheduler.timesteps)
    for number, timestep in enumerate(scheduler.timesteps[:last], start=1):
        prediction = backbone.predict(shown(x_t, batch, parts), timestep.expand(batch), conditioning)
        if parts:
            prediction = joined(prediction, parts)
        if len(prediction) == 2:
            free, guided = prediction.chunk(2)
            prediction = free + how.guidance * (guided - free)
        x_t = scheduler.step(prediction, timestep, x_t, return_dict=False)[0]
        if how.into is not None:
            share = scheduler.sigmas[number].to(x_t)
            kept = share * noise + (1 - share) * how.into.latents.to(x_t)
            mask = how.into.mask.to(x_t)
            x_t = mask * x_t + (1 - mask) * kept
        report(number, total)
    return x_t
