"""A picture as the model sees it, the original, and the geometry between them.

Legend: H, W the original's pixels; h, w cells of a grid laid over the model's square; K masks.
A picture is shown through a *box* of the original (all of it, or the centre square for "crop") that fills a *window*
of the model's square (all of it, or a centred part for "pad"). Boxes and windows are (top, left, height, width).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.core.errors import ImageError
from uce.core.files.pictures import PictureSource, RgbArray, load_rgb

if TYPE_CHECKING:
    from uce.core.flow.data import Concepts

Fit = Literal["crop", "pad", "stretch"]
Frame = tuple[int, int, int, int]

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
_BAND_VALUES = 1 << 24  # numbers held at once while masks are enlarged (64 MB of float32)

__all__ = ["FITS", "Fit", "Picture", "load_rgb", "picture_digest", "read_picture"]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, ready for a model.

    Attributes:
        pixels: float32 (3, side, side) in [-1, 1], as the model sees it.
        original: uint8 (H, W, 3) RGB, upright.
        fit: how a picture that is not square meets the model's square: "crop" shows the centre square, "pad" shows
            all and repeats its edge outwards, "stretch" shows all out of proportion (as the paper does).
    """

    pixels: Tensor
    original: RgbArray
    fit: Fit

    @cached_property
    def digest(self) -> str:
        """Hash of the original's pixels and shape."""
        return picture_digest(self.original)

    @property
    def side(self) -> int:
        """Pixels per side of what the model sees."""
        return int(self.pixels.shape[-1])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the original."""
        return int(self.original.shape[0]), int(self.original.shape[1])

    @property
    def box(self) -> Frame:
        """The part of the original that is shown, in its pixels."""
        return _box(self.size, self.fit)

    @property
    def window(self) -> Frame:
        """The part of the model's square that shows it, in the model's pixels."""
        return _window(self.size, self.fit, self.side)

    def at(self, side: int) -> Picture:
        """The same picture for a model of another side."""
        return self if side == self.side else _fitted(self.original, side, self.fit)

    def valid(self, grid: tuple[int, int]) -> Tensor:
        """Cells that show the picture rather than padding.

        Returns:
            bool (h, w); a cell counts when at least half of it shows the picture (the best cells where none does).
        """
        rows, columns = (self._shown(axis, grid[axis]) for axis in (0, 1))
        return rows[:, None] & columns[None, :]

    def masks_of(self, concepts: Concepts) -> Tensor:
        """Masks at the original's size, bool (K, H, W): the concepts' own where they have such, else of their cells."""
        return self.to_original(concepts.masks) if concepts.pixel_masks is None else concepts.pixel_masks

    def to_original(self, masks: Tensor) -> Tensor:
        """Cell masks as pixel masks of the original: bilinear between cells, the strongest mask (or none) wins.

        Args:
            masks: bool (K, h, w), disjoint.

        Returns:
            bool (K, H, W), disjoint; False outside a crop. What padding cells say is ignored.
        """
        count, *grid = masks.shape
        height, width = self.size
        found = torch.zeros(count, height, width, dtype=torch.bool)
        if count == 0:
            return found
        layers = torch.cat([~masks.any(dim=0, keepdim=True), masks]).float().cpu()  # layer 0: no mask
        top, left, box_height, box_width = self.box
        low, high, share = self._taps(1, grid[1])
        across = torch.lerp(layers[:, :, low], layers[:, :, high], share)  # (K + 1, h, box width)
        low, high, share = self._taps(0, grid[0])
        for band in _bands(box_height, (count + 1) * box_width):
            mixed = torch.lerp(across[:, low[band]], across[:, high[band]], share[band, None])
            winner, best = torch.zeros(mixed.shape[1:], dtype=torch.int16), mixed[0]
            for index in range(1, count + 1):  # argmax, a tenth of its time: the first of equal ones wins
                winner[mixed[index] > best] = index
                best = torch.maximum(best, mixed[index])
            rows = slice(top + band.start, top + band.stop)
            for index in range(count):
                found[index, rows, left : left + box_width] = winner == index + 1
        return found

    def to_grid(self, pixel_masks: Tensor, grid: tuple[int, int]) -> Tensor:
        """Pixel masks of the original as cell masks.

        A cell belongs to the masks when they cover at least half of the picture it shows, and then to the one that
        covers most of it. A mask too small for that gets its best cell, unless that cell is all another mask has.

        Args:
            pixel_masks: bool (K, H, W).
            grid: (h, w).

        Returns:
            bool (K, h, w), disjoint; padding cells stay False.
        """
        count = pixel_masks.shape[0]
        found = torch.zeros(count, *grid, dtype=torch.bool)
        if count == 0:
            return found
        top, left, box_height, box_width = self.box
        down, across = self._overlaps(0, grid[0]), self._overlaps(1, grid[1])
        area = down.sum(dim=1)[:, None] * across.sum(dim=1)[None, :]
        part = pixel_masks[:, top : top + box_height, left : left + box_width].cpu()
        covered = torch.stack([down @ mask.float() @ across.T for mask in part])  # (K, h, w) pixels
        valid = self.valid(grid)
        best = covered.argmax(dim=0)
        taken = (covered.sum(dim=0) >= 0.5 * area) & valid & (area > 0)
        for index in range(count):
            found[index] = taken & (best == index)
        share = torch.where(valid & (area > 0), covered / area.clamp_min(1e-12), torch.zeros_like(covered))
        return _keep_small(found, share)

    def _axis(self, axis: int) -> tuple[int, int, int]:
        """(first model pixel, model pixels, original pixels) of the window along one axis (0 down, 1 across)."""
        return self.window[axis], self.window[axis + 2], self.box[axis + 2]

    def _edges(self, axis: int, cells: int) -> Tensor:
        """Boundaries of the cells in the box's own pixels, clipped to it: float64 (cells + 1,)."""
        start, length, pixels = self._axis(axis)
        edges = torch.arange(cells + 1, dtype=torch.float64) * (self.side / cells)
        return ((edges - start) * (pixels / length)).clamp(0, pixels)

    def _shown(self, axis: int, cells: int) -> Tensor:
        edges = self._edges(axis, cells)
        _, length, pixels = self._axis(axis)
        share = edges.diff() * (length / pixels) / (self.side / cells)
        return share >= min(0.5, float(share.max())) - 1e-9

    def _overlaps(self, axis: int, cells: int) -> Tensor:
        """float32 (cells, pixels): how much of each of the box's pixels lies in each cell."""
        edges = self._edges(axis, cells)
        pixels = torch.arange(self.box[axis + 2], dtype=torch.float64)
        upper = torch.minimum(edges[1:, None], pixels + 1)
        lower = torch.maximum(edges[:-1, None], pixels)
        return (upper - lower).clamp_min(0).float()

    def _taps(self, axis: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
        """The two cells between which each of the box's pixels lies, and the second one's share."""
        start, length, pixels = self._axis(axis)
        centres = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (length / pixels) + start
        shown = self._shown(axis, cells).nonzero()
        position = (centres * (cells / self.side) - 0.5).clamp(float(shown[0]), float(shown[-1]))
        low = position.floor().long()
        high = (low + 1).clamp_max(int(shown[-1]))
        return low, high, (position - low).float()


def picture_digest(original: RgbArray) -> str:
    """Hash of a picture's pixels and shape."""
    hasher = hashlib.sha256(repr(original.shape).encode())
    hasher.update(np.ascontiguousarray(original).data)
    return hasher.hexdigest()


def read_picture(source: PictureSource, side: int, fit: Fit = "pad") -> Picture:
    """Read a picture of any size, shape and colour mode and fit it to a model's square.

    Args:
        source: a path, a PIL picture, or an array (see `load_rgb`).
        side: pixels per side at which the model works.
        fit: "crop", "pad" or "stretch".

    Raises:
        ImageError: the file or array is no picture that can be used.
    """
    if fit not in FITS:
        raise ImageError(f"unknown fit {fit!r}; available: {', '.join(FITS)}")
    return _fitted(load_rgb(source), side, fit)


def _fitted(original: RgbArray, side: int, fit: Fit) -> Picture:
    size = (original.shape[0], original.shape[1])
    top, left, height, width = _box(size, fit)
    above, before, shown_height, shown_width = _window(size, fit, side)
    shown = Image.fromarray(np.ascontiguousarray(original[top : top + height, left : left + width]))
    if shown.size != (shown_width, shown_height):
        shown = shown.resize((shown_width, shown_height), Image.Resampling.BICUBIC)
    below, after = side - above - shown_height, side - before - shown_width
    square = np.pad(np.asarray(shown), ((above, below), (before, after), (0, 0)), mode="edge")
    pixels = torch.from_numpy(square.copy()).permute(2, 0, 1).float() / 127.5 - 1
    return Picture(pixels=pixels.contiguous(), original=original, fit=fit)


def _box(size: tuple[int, int], fit: Fit) -> Frame:
    height, width = size
    if fit != "crop":
        return 0, 0, height, width
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _window(size: tuple[int, int], fit: Fit, side: int) -> Frame:
    if fit != "pad":
        return 0, 0, side, side
    longer = max(size)
    height, width = (max(1, round(length * side / longer)) for length in size)
    return (side - height) // 2, (side - width) // 2, height, width


def _bands(rows: int, values_per_row: int) -> Iterator[slice]:
    step = max(1, _BAND_VALUES // max(1, values_per_row))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _keep_small(found: Tensor, share: Tensor) -> Tensor:
    """Give every mask that lost all its cells the cell it covers best, without emptying another mask."""
    for index in range(found.shape[0]):
        if found[index].any():
            continue
        for flat in share[index].flatten().argsort(descending=True, stable=True).tolist():
            row, column = divmod(flat, found.shape[2])
            if share[index, row, column] <= 0:
                break
            owner = found[:, row, column].nonzero().flatten().tolist()
            if owner and int(found[owner[0]].sum()) == 1:
                continue
            found[:, row, column] = False
            found[index, row, column] = True
            break
    return found
