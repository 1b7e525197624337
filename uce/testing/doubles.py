"""Tiny stand-ins for what a run gives to its stages: attention maps, concepts, a picture, a model.

Everything is made on the spot from fixed seeds, in milliseconds, and is the same on every machine.

Legend: N cells of the grid, N = h * w; K concepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uce.core.flow.data import AttentionMaps, Clusters, Concepts
from uce.core.flow.picture import Picture, read_picture
from uce.core.localisation.candidates import candidate_concepts
from uce.testing.backbone import SIDE

if TYPE_CHECKING:
    from uce.testing.backbone import TinyBackbone


def tiny_labels(grid: tuple[int, int] = (8, 8), things: int = 2) -> Tensor:
    """Where the things of `tiny_attention` lie: int64 (h, w), 0 is background, 1 to `things` are rectangles side by
    side; -1 nowhere."""
    height, width = grid
    labels = torch.zeros(grid, dtype=torch.int64)
    margin = height // 4
    for index in range(things):
        left, right = index * width // things, (index + 1) * width // things
        labels[margin : height - margin, left : max(left + 1, right - 1)] = index + 1
    return labels


def tiny_attention(grid: tuple[int, int] = (8, 8), things: int = 2, noise: float = 0.2, seed: int = 0) -> AttentionMaps:
    """Attention maps of a picture with `things` salient rectangles.

    Args:
        grid: (h, w).
        things: 0 makes every row and the whole saliency the same: one cluster, and nothing stands out.
        noise: how much cells of one thing differ, as a share of their attention; 0 makes blocks of equal rows.
        seed: of the noise.

    Returns:
        affinity float32 (N, N), rows sum to 1; saliency float32 (h, w), high inside the things.
    """
    num = grid[0] * grid[1]
    if things == 0:
        return AttentionMaps(torch.full((num, num), 1 / num), torch.full(grid, 0.5))
    generator = torch.Generator().manual_seed(seed)
    labels = tiny_labels(grid, things).flatten()
    same_NN = (labels[:, None] == labels[None, :]).float()
    affinity = (same_NN + 0.02) * (1 + noise * torch.rand(num, num, generator=generator))
    saliency = (0.1 + 0.8 * (labels > 0).float()) + 0.1 * torch.rand(num, generator=generator)
    return AttentionMaps(affinity / affinity.sum(dim=1, keepdim=True), saliency.clamp(0, 1).reshape(grid))


def tiny_concepts(grid: tuple[int, int] = (8, 8), things: int = 2) -> Concepts:
    """The concepts of `tiny_attention(grid, things)` as the first refiner gets them: one per cluster, the background
    first (K = things + 1)."""
    return candidate_concepts(tiny_attention(grid, things), Clusters(tiny_labels(grid, things), merge_threshold=0.5))


def tiny_picture(size: tuple[int, int] = (40, 48), side: int = SIDE) -> Picture:
    """A picture of (H, W) pixels, not square unless asked for: a red and a green rectangle on grey-blue."""
    height, width = size
    pixels = torch.empty(height, width, 3, dtype=torch.uint8)
    pixels[:] = torch.tensor([110, 120, 150], dtype=torch.uint8)
    pixels += (torch.arange(width) % 7).to(torch.uint8)[None, :, None]
    pixels[height // 4 : 3 * height // 4, width // 12 : 5 * width // 12] = torch.tensor([210, 40, 30]).byte()
    pixels[height // 3 : 5 * height // 6, 7 * width // 12 : 11 * width // 12] = torch.tensor([20, 160, 60]).byte()
    return read_picture(pixels.numpy(), side, "pad")


def tiny_backbone(encoders: tuple[str, ...] = ("clip",)) -> TinyBackbone:
    """A model of a few hundred numbers that keeps to `uce.core.Backbone`, without diffusers.

    Args:
        encoders: names of its text encoders; ("clip_l", "clip_g") gives two of different widths, as SDXL has.
    """
    from uce.testing.backbone import TinyBackbone

    return TinyBackbone(encoders)
