"""From UNet passes on a picture to attention maps: what extractors share.

Legend: N cells of the grid, N = h * w; x_t a latent at timestep t.
Source: ConceptExpress (arXiv 2407.07077), section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from uce.core.aggregate import (
    Grid,
    aggregate_self_attention,
    finest_grid,
    mean_cross_attention,
    normalize_rows,
    saliency_from,
)
from uce.core.backbone import Backbone, Capture, LayerMap
from uce.core.context import Context
from uce.core.data import AttentionMaps
from uce.core.errors import StageInputError
from uce.core.latents import encode_picture
from uce.core.picture import Picture


def picture_latents(backbone: Backbone, image: Picture, cells: int | None = None) -> Tensor:
    """The picture's latents (1, C, h, w), at the model's own side or enlarged to `cells` per side."""
    unit = backbone.picture_side // backbone.latent_side
    pixels = image.at(unit * max(backbone.latent_side, cells or 0)).pixels
    return encode_picture(backbone, pixels)


def grid_of(maps: Sequence[LayerMap], latents: Tensor) -> Grid:
    """(h, w) of the finest attention layers, which is what a picture is localised on."""
    return finest_grid(maps, (int(latents.shape[2]), int(latents.shape[3])))


def resolve_timestep(backbone: Backbone, value: float, key: str) -> int:
    """A timestep of this model from what the user wrote: below 1 a fraction of the schedule, from 1 up the number.

    Raises:
        StageInputError: not a whole number, or beyond the model's schedule.
    """
    last = backbone.num_timesteps - 1
    timestep = min(round(value * backbone.num_timesteps), last) if value < 1 else int(value)
    if value >= 1 and value != timestep:
        raise StageInputError(f"{key}: a timestep from 1 up must be a whole number, found {value:g}")
    if timestep > last:
        raise StageInputError(f"{key} must be below {backbone.num_timesteps} for this model, found {timestep}")
    return timestep


def noised(backbone: Backbone, latents: Tensor, timestep: int, context: Context, salt: str) -> Tensor:
    """x_t with fresh noise from the run's seed and `salt`; the latents themselves at timestep 0."""
    if timestep == 0:
        return latents
    noise = torch.randn(latents.shape, generator=context.generator(salt=salt)).to(latents)
    return backbone.add_noise(latents, noise, torch.full((1,), timestep))


def read_maps(
    backbone: Backbone, noisy: Tensor, timestep: int, *, own: bool = True
) -> tuple[list[LayerMap], list[LayerMap]]:
    """Self-attention of every layer (left out where not `own`), and cross-attention to the end of an empty text."""
    prompt = backbone.tokenize("")
    columns = torch.tensor([[prompt.end[backbone.encoders[0]]]])
    requests = [*([Capture("self")] if own else []), Capture("cross", columns=columns)]
    conditioning = backbone.encode_prompts([prompt])
    with backbone.capture(*requests) as maps:
        backbone.predict(noisy, torch.full((1,), timestep), conditioning)
    return [one for one in maps if one.kind == "self"], [one for one in maps if one.kind == "cross"]


def end_of_text(maps: list[LayerMap], grid: Grid, side: int | None) -> Tensor:
    """Mean attention (h', w') to the end-of-text token in the down and up layers of a quarter of the grid's side, or
    of the side nearest to that (the larger of two).

    Raises:
        StageInputError: no cross-attention maps.
    """
    outer = [layer for layer in maps if not layer.name.startswith("mid")] or maps
    if not outer:
        raise StageInputError("the model has no cross-attention layers to read saliency from; choose another extractor")
    wanted = side or max(grid) / 4
    nearest = min((layer.grid for layer in outer), key=lambda own: (abs(max(own) - wanted), -max(own)))
    return mean_cross_attention(outer, nearest)[0, :, :, 0]


def average_maps(
    backbone: Backbone,
    passes: Iterable[tuple[Tensor, int]],
    *,
    normalize_layers: bool,
    saliency_side: int | None,
) -> AttentionMaps:
    """Affinity and saliency, each the mean over UNet passes.

    Args:
        passes: x_t (1, C, h, w) and timestep t of every pass; at least one.
        normalize_layers: divide each layer's rows by their sums before layers are averaged.
        saliency_side: side of the cross-attention layers to read; None: a quarter of the grid's.
    """
    affinity, saliency = None, None
    for noisy, timestep in passes:
        own, cross = read_maps(backbone, noisy, timestep)
        grid = grid_of(own, noisy)
        layers = aggregate_self_attention(own, grid, normalize_layers=normalize_layers)
        own.clear()
        attention = end_of_text(cross, grid, saliency_side)
        affinity = layers if affinity is None else affinity.add_(layers)
        saliency = attention if saliency is None else saliency + attention
    assert affinity is not None and saliency is not None
    return AttentionMaps(affinity=normalize_rows(affinity), saliency=saliency_from(saliency, grid))
