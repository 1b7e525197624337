"""From UNet passes on a picture to attention maps: what extractors share.

Legend: N cells of the grid, N = h * w; x_t a latent at timestep t.
Source: ConceptExpress (arXiv 2407.07077), section 4.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.context import Context
from uce.core.flow.data import AttentionMaps
from uce.core.flow.picture import Picture
from uce.core.model.aggregate import (
    Grid,
    aggregate_self_attention,
    finest_grid,
    mean_cross_attention,
    normalize_rows,
    saliency_from,
)
from uce.core.model.backbone import Backbone, Capture, LayerMap
from uce.core.model.latents import encode_picture
from uce.core.model.map_settings import AttentionSettings, MapSettings

Passes = Callable[[Tensor], Iterable[tuple[Tensor, int]]]


def picture_latents(backbone: Backbone, image: Picture, settings: MapSettings) -> list[Tensor]:
    """The picture's latents, floats (1, C, h, w): at the model's own side, or enlarged to `cells` per side; both,
    the larger first, where it is enlarged and `own_size` asks for both.
    """
    own = backbone.latent_side
    unit = backbone.picture_side // own
    shown = max(own, settings.cells or 0)
    sides = [shown, own] if settings.own_size and shown > own else [shown]
    return [encode_picture(backbone, image.at(unit * side).pixels) for side in sides]


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
    columns = torch.tensor([[prompt.ending]])
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


def mean_of_sizes(
    backbone: Backbone, image: Picture, settings: MapSettings, read: Callable[[Tensor, Grid | None], AttentionMaps]
) -> AttentionMaps:
    """The mean of the maps of every size that the picture is shown in, without gradients.

    A model is best at the size of its training, and fine things need more cells than that: the mean has both.

    Args:
        read: from latents (1, C, h, w) and the grid that is wanted (None: as fine as these latents give it) to maps.

    Source: our own; docs/benchmarks.md says what it is worth.
    """
    with torch.no_grad():
        first, *others = picture_latents(backbone, image, settings)
        found = read(first, None)
        if not others:
            return found
        affinity, saliency = found.affinity, found.saliency
        for latents in others:
            more = read(latents, found.grid)
            affinity, saliency = affinity.add_(more.affinity), saliency + more.saliency
        return AttentionMaps(affinity=normalize_rows(affinity), saliency=saliency_from(saliency, found.grid))


def mean_of_passes(backbone: Backbone, image: Picture, settings: AttentionSettings, passes: Passes) -> AttentionMaps:
    """Affinity and saliency, each the mean over UNet passes, and that over the sizes of the picture.

    Args:
        passes: from latents (1, C, h, w) to x_t (1, C, h, w) and timestep t of every pass; at least one.
    """

    if settings.flip:
        image = dataclasses.replace(
            image, pixels=image.pixels.flip(-1), original=np.ascontiguousarray(image.original[:, ::-1])
        )

    def read(latents: Tensor, grid: Grid | None) -> AttentionMaps:
        affinity, saliency = None, None
        for noisy, timestep in passes(latents):
            own, cross = read_maps(backbone, noisy, timestep)
            grid = grid or grid_of(own, noisy)
            layers = aggregate_self_attention(
                own,
                grid,
                normalize_layers=settings.normalize == "layers",
                interpolate_queries=settings.queries == "interpolate",
            )
            own.clear()
            attention = end_of_text(cross, grid, settings.saliency_side)
            affinity = layers if affinity is None else affinity.add_(layers)
            saliency = attention if saliency is None else saliency + attention
        assert grid is not None and affinity is not None and saliency is not None
        return AttentionMaps(affinity=normalize_rows(affinity), saliency=saliency_from(saliency, grid))

    maps = mean_of_sizes(backbone, image, settings, read)
    return turned_back(maps) if settings.flip else maps


def turned_back(maps: AttentionMaps) -> AttentionMaps:
    """Maps of a mirrored picture, as maps of the picture itself: cells of every row in the opposite order."""
    height, width = maps.grid
    order = torch.arange(height * width).reshape(height, width).flip(1).flatten()
    return AttentionMaps(affinity=maps.affinity[order][:, order], saliency=maps.saliency.flip(1))
