"""The noise that a picture would have come from: deterministic DDIM inversion.

Everything follows from the backbone's own face. A noised latent is x_t = s_t x_0 + n_t eps, and what the UNet predicts
is linear in both, y = a_t x_0 + b_t eps: (a, b) is (0, 1) for models that predict noise, (1, 0) for those that predict
the latent, (-n_t, s_t) for velocity. All four are read off `add_noise` and `target`, whatever the model's schedule.

Legend: x_t latent at timestep t; s, n signal and noise levels; y the UNet's prediction.
Source: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, section 4.3 and equation 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from uce.core.model.backbone import Backbone


def levels(backbone: Backbone, timestep: int) -> tuple[float, float, float, float]:
    """(s, n, a, b) of a timestep."""
    one, zero, step = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.full((1,), timestep)
    return (
        float(backbone.add_noise(one, zero, step)),
        float(backbone.add_noise(zero, one, step)),
        float(backbone.target(one, zero, step)),
        float(backbone.target(zero, one, step)),
    )


def split_prediction(backbone: Backbone, x_t: Tensor, y: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
    """What a prediction says the latent x_0 and the noise eps in x_t are."""
    s, n, a, b = levels(backbone, timestep)
    # s^2 + n^2 for velocity, s for noise, -n for the latent: 0 only where a model of the last kind sees no noise.
    determinant = s * b - n * a
    if abs(determinant) < 1e-6:
        return x_t / s, torch.zeros_like(x_t)
    return (b * x_t - n * y) / determinant, (s * y - a * x_t) / determinant


def ddim_inversion(backbone: Backbone, latents: Tensor, timesteps: Sequence[int], steps: int) -> dict[int, Tensor]:
    """The latents that deterministic sampling under the empty prompt would turn into `latents`.

    The clean latents count as x_0 at timestep 0; from there every step keeps what the UNet says about x_0 and eps and
    mixes them for the next, noisier timestep.

    Args:
        latents: (1, C, h, w), clean.
        timesteps: where the latents are wanted.
        steps: steps over the model's whole schedule; the wanted timesteps are stops in between.

    Returns:
        timestep -> x_t (1, C, h, w).
    """
    stride = max(1, round(backbone.num_timesteps / steps))
    stops = sorted({*range(0, max(timesteps), stride), *timesteps, 0})
    conditioning = backbone.encode_prompts([backbone.tokenize("")])
    x_t, found = latents, {0: latents}
    for now, following in pairwise(stops):
        y = backbone.predict(x_t, torch.full((1,), now), conditioning)
        x_0, eps = split_prediction(backbone, x_t, y.to(x_t), now)
        s, n, _, _ = levels(backbone, following)
        x_t = s * x_0 + n * eps
        found[following] = x_t
    return {timestep: found[timestep] for timestep in timesteps}
