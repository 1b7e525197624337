"""From attention maps of many layers to one affinity and one saliency map on the grid.

Legend: N cells of the grid, N = h * w, row-major; n cells of a layer.
Source: ConceptExpress (arXiv 2407.07077), section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from uce.core.errors import StageInputError
from uce.core.model.backbone import LayerMap

Grid = tuple[int, int]


def finest_grid(maps: Sequence[LayerMap], latent: Grid) -> Grid:
    """(h, w) of the finest layers, which is what a picture is localised on; the latent's where there are no maps.

    Stable Diffusion's finest layers are as fine as its latent. XL has none finer than half of it: a grid of 128 x 128
    would say no more than one of 64 x 64, at sixteen times the memory.
    """
    return max((layer.grid for layer in maps), default=latent)


def aggregate_self_attention(
    maps: Sequence[LayerMap], grid: Grid, *, normalize_layers: bool = False, interpolate_queries: bool = False
) -> Tensor:
    """Weighted mean of all layers' self-attention at the grid's resolution.

    Keys are enlarged bilinearly and queries repeated; a layer weighs its side over the grid's. Rows are not
    normalised: as in the reference, enlarging keys without dividing lets coarse layers count for more than their
    weight. `normalize_layers` divides each layer's rows by their sums first; `interpolate_queries` enlarges queries
    bilinearly as well, so that no row jumps where a coarse cell ends (both our own).

    Args:
        maps: self-attention of one picture: probs (1, n, n).
        grid: (h, w).

    Returns:
        float32 (N, N), not normalised.

    Raises:
        StageInputError: no maps.
    """
    if not maps:
        raise StageInputError("the model has no self-attention layers to read; choose another extractor")
    height, width = grid
    total = torch.zeros(height, width, height * width, device=maps[0].probs.device)
    weights = 0.0
    for source in dict.fromkeys(layer.grid for layer in maps):
        alike = [layer.probs[0].float() for layer in maps if layer.grid == source]
        weight = max(source) / max(grid)
        weights += weight * len(alike)
        summed = alike[0].clone()
        for other in alike[1:]:
            summed += other
        keys = enlarge(summed, source, grid).flatten(1)  # (n, N); enlarging is linear, so once for all layers of a grid
        if normalize_layers:
            keys = keys * (len(alike) / keys.sum(dim=1, keepdim=True).clamp_min(1e-12))
        add = _add_interpolated if interpolate_queries and source != grid else _add_repeated
        add(total, keys.reshape(*source, -1), weight)
    return total.div_(weights).flatten(0, 1)


def _add_repeated(total: Tensor, keys: Tensor, weight: float) -> None:
    """total (h, w, N) += weight * keys (layer's h, w, N), each query repeated over the cells it stands for."""
    (height, width), (rows, columns) = total.shape[:2], keys.shape[:2]
    column_of = _nearest(width, columns, total.device)
    for row, source in enumerate(_nearest(height, rows, total.device).tolist()):
        total[row].add_(keys[source][column_of], alpha=weight)


def _add_interpolated(total: Tensor, keys: Tensor, weight: float) -> None:
    """total (h, w, N) += weight * keys (layer's h, w, N), enlarged bilinearly along the queries: first to w columns,
    then to h rows, straight into the total.
    """
    (height, width), (rows, columns) = total.shape[:2], keys.shape[:2]
    wide = _between(width, columns, total.device) @ keys
    total.flatten(1).addmm_(_between(height, rows, total.device), wide.flatten(1), alpha=weight)


def _between(cells: int, sources: int, device: torch.device) -> Tensor:
    """How much each of the layer's rows (or columns) counts in each of the grid's, float32 (cells, sources)."""
    return interpolate(torch.eye(sources, device=device)[None], size=cells, mode="linear", align_corners=False)[0].T


def _nearest(cells: int, sources: int, device: torch.device) -> Tensor:
    return torch.arange(cells, device=device) * sources // cells


def enlarge(values: Tensor, source: Grid, grid: Grid) -> Tensor:
    """(B, source cells) -> (B, h, w), bilinear, align_corners False."""
    maps = values.reshape(-1, 1, *source)
    if source == grid:
        return maps[:, 0]
    return interpolate(maps, size=grid, mode="bilinear", align_corners=False)[:, 0]


def normalize_rows(affinity: Tensor) -> Tensor:
    """Every row divided by its sum, in place where the tensor is ours to change."""
    return affinity.div_(affinity.sum(dim=1, keepdim=True).clamp_min(1e-12))


def mean_cross_attention(maps: Sequence[LayerMap], grid: Grid) -> Tensor:
    """Mean over the heads of all layers of one grid: every head counts the same, whatever layer it is in.

    Args:
        maps: cross-attention, probs (B, h*w, M); maps of other grids are left out.
        grid: (h, w) of the layers to use.

    Returns:
        float32 (B, h, w, M), with gradient where the maps have it.

    Raises:
        StageInputError: no layer has this grid.
    """
    chosen = [layer for layer in maps if layer.grid == grid]
    if not chosen:
        known = ", ".join(sorted({f"{h} x {w}" for h, w in (layer.grid for layer in maps)})) or "none"
        raise StageInputError(f"no cross-attention layer has a grid of {grid[0]} x {grid[1]}; found: {known}")
    heads = sum(layer.heads for layer in chosen)
    mean: Tensor = torch.stack([layer.probs.float() * (layer.heads / heads) for layer in chosen]).sum(dim=0)
    return mean.reshape(mean.shape[0], *grid, mean.shape[2])


def saliency_from(attention: Tensor, grid: Grid) -> Tensor:
    """Attention to the end of an empty text (h', w'), enlarged to the grid and stretched to [0, 1].

    A constant map says nothing about what stands out and gives zeros (the reference divides by zero there).
    """
    enlarged = enlarge(attention.reshape(1, -1).float(), (attention.shape[0], attention.shape[1]), grid)[0]
    low, high = enlarged.min(), enlarged.max()
    if float(high - low) <= 1e-6 * max(abs(float(high)), 1e-12):
        return torch.zeros_like(enlarged)
    return (enlarged - low) / (high - low)
