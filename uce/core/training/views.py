"""What a training looks at: every whole picture and, where asked for, an enlarged view of every concept in it.

A thing that fills a tenth of the picture is a few latent cells, too few to learn a shape from. In a view of its own it
has most of them (our own; the paper shows the whole picture only).

Legend: K concepts; P pictures; V views: P, or P * (1 + K); C, h, w latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from uce.core.files.masks import mask_box
from uce.core.flow.data import Concepts
from uce.core.flow.picture import Picture, read_picture
from uce.core.model.backbone import Backbone
from uce.core.model.latents import encode_with_mirror

Frame = tuple[int, int, int]  # top, left, side; may lie partly outside


def resize_masks(masks_Khw: Tensor, to: tuple[int, int]) -> Tensor:
    """Boolean masks on the latent grid. Coarser: cells mostly covered, or touched at all where none is."""
    if tuple(masks_Khw.shape[1:]) == to:
        return masks_Khw
    masks = masks_Khw.float()[None]
    if masks_Khw.shape[1] <= to[0] and masks_Khw.shape[2] <= to[1]:
        return F.interpolate(masks, size=to, mode="nearest")[0] > 0.5
    covered = F.adaptive_avg_pool2d(masks, to)[0]
    most = covered.flatten(1).amax(dim=1).clamp(max=0.5)[:, None, None]
    return (covered >= most) & (covered > 0)


def widen_masks(masks_Khw: Tensor, cells: int) -> Tensor:
    """Float masks (K, h, w) grown by so many cells, but never into another mask."""
    masks = masks_Khw.float()
    if cells == 0 or masks.shape[0] == 0:
        return masks
    wide = F.max_pool2d(masks[None], 2 * cells + 1, stride=1, padding=cells)[0]
    others = masks.sum(dim=0, keepdim=True) - masks
    return wide * (others < 0.5)


def zoom_frame(mask_HW: npt.NDArray[np.bool_], zoom: float) -> Frame:
    """The square in whose centre a mask's box takes `zoom` of the side."""
    spans = mask_box(mask_HW)
    side = max(1, round(max(end - start for start, end in spans) / zoom))
    top, left = (round((start + end - side) / 2) for start, end in spans)
    return top, left, side


def cut(picture: npt.NDArray[Any], frame: Frame, *, repeat: bool) -> npt.NDArray[Any]:
    """A square of (H, W, ...); outside, its nearest edge is repeated, or it is zero."""
    top, left, side = frame
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    height, width = picture.shape[:2]
    found: npt.NDArray[Any] = picture[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    if not repeat:
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        found = found * inside.reshape(side, side, *[1] * (found.ndim - 2))
    return found


@dataclass(frozen=True, eq=False)
class Views:
    """What stays the same in every update.

    Attributes:
        latents: float32 (V, 2, C, h, w): each view and its mirror image. Of every picture the first view is the whole
            picture, view 1 + k shows concept k enlarged.
        masks: float (V, 2, K, h, w) in {0, 1}: the concepts in each view, as they are and mirrored.
        num_pictures: P; more than one where the same concepts are seen in several.
    """

    latents: Tensor
    masks: Tensor
    num_pictures: int = 1

    @classmethod
    def make(cls, backbone: Backbone, concepts: Concepts, image: Picture, margin: int, zoom: float) -> Views:
        """Cut and encode all views.

        Args:
            margin: cells by which masks grow.
            zoom: share of a view's side that its concept's box takes, in (0, 1]; 0: the whole picture only.
        """
        cells, latents = [concepts.masks], encode_with_mirror(backbone, image.pixels)
        if zoom > 0:
            enlarged = _enlarged(concepts, image, zoom)
            cells += [shown for _, shown in enlarged]
            pixels = [read_picture(frame, backbone.picture_side, "stretch").pixels for frame, _ in enlarged]
            both = torch.stack([side for view in pixels for side in (view, view.flip(-1))])
            with torch.no_grad():
                latents = torch.cat([latents, backbone.encode_image(both.to(backbone.device)).float()])
        grid = (latents.shape[2], latents.shape[3])
        masks = torch.stack([widen_masks(resize_masks(view, grid), margin) for view in cells]).to(latents.device)
        return cls(latents.reshape(-1, 2, *latents.shape[1:]), torch.stack([masks, masks.flip(-1)], dim=1))

    @classmethod
    def of_all(cls, pictures: Sequence[Views]) -> Views:
        """Those of several pictures as one."""
        latents, masks = torch.cat([one.latents for one in pictures]), torch.cat([one.masks for one in pictures])
        return cls(latents, masks, len(pictures))

    @property
    def per_picture(self) -> int:
        return len(self.latents) // self.num_pictures

    def seen(self, shown: Sequence[tuple[int, ...]], turn: int = 0) -> list[int]:
        """The view that each prompt sees: its concept's own where it shows one and there are views, else a whole
        picture.

        Args:
            shown: token rows of each prompt; the concept of a row is `row % K`.
            turn: pictures take turns by it.
        """
        count, views = self.masks.shape[2], []
        for rows in shown:
            first = self._picture([row % count for row in rows], turn) * self.per_picture
            views.append(first + (1 + rows[0] % count if self.per_picture > 1 and len(rows) == 1 else 0))
        return views

    def _picture(self, concepts: Sequence[int], turn: int) -> int:
        """Whose turn it is among the pictures that show most of the concepts."""
        if self.num_pictures == 1:
            return 0
        there = self._there[:, list(concepts)].sum(dim=1)
        candidates = (there == there.max()).nonzero().flatten().tolist()
        return int(candidates[turn % len(candidates)])

    @cached_property
    def _there(self) -> Tensor:
        """bool (P, K) on the CPU: which picture shows which concept."""
        return self.masks[:: self.per_picture, 0].flatten(2).any(dim=2).cpu()


def _enlarged(concepts: Concepts, image: Picture, zoom: float) -> list[tuple[npt.NDArray[np.uint8], Tensor]]:
    """Every concept's square of the original, and where all concepts are in it, bool (K, side, side)."""
    masks_HWK = image.masks_of(concepts).cpu().numpy().transpose(1, 2, 0)
    views = []
    for k in range(len(concepts)):
        frame = zoom_frame(masks_HWK[..., k], zoom) if masks_HWK[..., k].any() else (0, 0, max(image.size))
        inside = torch.from_numpy(np.ascontiguousarray(cut(masks_HWK, frame, repeat=False))).permute(2, 0, 1)
        views.append((np.asarray(cut(image.original, frame, repeat=True), np.uint8), inside))
    return views
