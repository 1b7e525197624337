"""Scoring vectors by how well a prompt that holds them denoises each concept, without gradient.

Legend: V vectors; K concepts; T noise levels; C, h, w latent.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from uce.core.backbone import Backbone
from uce.core.context import Context
from uce.core.training.objective import resize_masks
from uce.core.training.updates import choose_micro_batch

LOW, HIGH = 0.3, 0.9
"""Noise levels, as fractions of the schedule, between which words matter: with less noise the picture itself says what
is there, with more nothing can be told apart."""


@torch.no_grad()
def masked_errors(
    backbone: Backbone,
    pixels: Tensor,
    masks_Khw: Tensor,
    vectors: Mapping[str, Tensor],
    num_levels: int,
    template: str,
    context: Context,
) -> Tensor:
    """Mean squared error inside every mask for every vector, float32 (K, V).

    All vectors see the same noise, so that their errors can be compared.

    Args:
        pixels: float32 (3, side, side) in [-1, 1].
        masks_Khw: bool, on any grid.
        vectors: per text encoder (V, d).
        num_levels: T.
        template: prompt with "{}" for the word.
    """
    device = torch.device(backbone.device)
    latent = backbone.encode_image(pixels[None].to(device)).float()
    masks_KN = resize_masks(masks_Khw, (latent.shape[2], latent.shape[3])).flatten(1).float().to(device)
    shares_KN = masks_KN / masks_KN.sum(dim=1, keepdim=True).clamp_min(1)
    levels = torch.linspace(LOW, HIGH, num_levels + 2)[1:-1].mul(backbone.num_timesteps - 1).long()
    noise = torch.randn(num_levels, *latent.shape[1:], generator=context.generator(salt="word search")).to(device)
    placed = {encoder: rows.to(device) for encoder, rows in vectors.items()}
    num_vectors = next(iter(placed.values())).shape[0]
    prompts = [backbone.tokenize(template.format("<word>"), {"<word>": i}) for i in range(num_vectors)]
    step = context.micro_batch or choose_micro_batch(backbone)
    errors = torch.zeros(masks_KN.shape[0], num_vectors, device=device)
    for start in range(0, num_vectors, step):
        part = prompts[start : start + step]
        conditioning = backbone.encode_prompts(part, placed)
        for level in range(num_levels):
            timesteps = levels[level].repeat(len(part)).to(device)
            x_0, eps = latent.expand(len(part), -1, -1, -1), noise[level].expand(len(part), -1, -1, -1)
            prediction = backbone.predict(backbone.add_noise(x_0, eps, timesteps), timesteps, conditioning)
            squared_VN = (prediction.float() - backbone.target(x_0, eps, timesteps).float()).square().mean(1).flatten(1)
            errors[:, start : start + len(part)] += shares_KN @ squared_VN.T / num_levels
    return errors
