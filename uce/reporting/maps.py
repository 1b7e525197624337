"""Grids of numbers as pictures that lie exactly over the photo, and the affinity in so few bytes that a page holds it.

Legend: N cells of the grid, N = h * w; M cells of the reduced grid; H, W the picture's pixels.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.core.flow.picture import Picture
from uce.core.runs.overlay import concept_colors

Array = np.ndarray[Any, np.dtype[Any]]
_STOPS = ((13, 14, 40), (66, 28, 120), (168, 44, 118), (236, 96, 76), (252, 170, 88), (255, 240, 184))
_SIDE = 1024  # of the square in which frames are measured: their error is below a thousandth


def palette() -> Array:
    """uint8 (256, 3), from dark to bright; brightness only ever rises, so that it also reads without colours."""
    places = np.linspace(0, 255, len(_STOPS))
    columns = [np.interp(np.arange(256), places, channel) for channel in zip(*_STOPS, strict=True)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Sheet:
    """The photo as the report shows it, and where the model's square lies over it."""

    photo: Image.Image
    picture: Picture

    @classmethod
    def of(cls, original: Array, fit: str, side: int) -> Sheet:
        """Args: original uint8 (H, W, 3); side: at most so many pixels are shown."""
        photo = Image.fromarray(original)
        photo.thumbnail((side, side), Image.Resampling.LANCZOS)
        known: Any = fit if fit in ("crop", "pad", "stretch") else "pad"
        return cls(photo, Picture(torch.empty(3, _SIDE, _SIDE), original, known))

    @property
    def frames(self) -> dict[str, list[float]]:
        """box: part of the photo that the model saw; window: part of its square that shows it; each as shares
        [left, top, width, height]."""
        height, width = self.picture.size
        (top, left, tall, wide), window = self.picture.box, self.picture.window
        shares = [window[1] / _SIDE, window[0] / _SIDE, window[3] / _SIDE, window[2] / _SIDE]
        return {"box": [left / width, top / height, wide / width, tall / height], "window": shares}

    def _laid(self, image: Image.Image, resample: Image.Resampling) -> tuple[Image.Image, tuple[int, int]]:
        """A grid's picture, cut to what shows the photo and enlarged to it; and where its corner lies."""
        width, height = self.photo.size
        (x, y, w, h), (left, top, wide, tall) = self.frames["box"], self.frames["window"]
        across, down = image.size
        size = (max(1, round(w * width)), max(1, round(h * height)))
        region = (left * across, top * down, (left + wide) * across, (top + tall) * down)
        return image.resize(size, resample, box=region), (round(x * width), round(y * height))

    def heat(self, values_hw: Array, highest: float | None = None, gamma: float = 1.0) -> Image.Image:
        """Numbers from 0 to their highest as colours; grey where the model saw nothing."""
        top = float(values_hw.max()) if highest is None else highest
        scaled = np.clip(values_hw / (top or 1), 0, 1) ** gamma
        small = Image.fromarray((scaled * 255).round().astype(np.uint8))
        laid, corner = self._laid(small, Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", self.photo.size, (128, 128, 128))
        canvas.paste(Image.fromarray(palette()[np.asarray(laid)]), corner)
        return canvas

    def regions(self, labels_hw: Array, colors: Sequence[tuple[int, int, int]], strength: float = 0.62) -> Image.Image:
        """The photo in grey, every label above -1 in its colour."""
        grey = np.asarray(self.photo.convert("L").convert("RGB")).astype(np.float32) * 0.55 + 24
        shifted = Image.fromarray((labels_hw + 1).astype(np.int32), mode="I")
        laid, corner = self._laid(shifted, Image.Resampling.NEAREST)
        whole = Image.new("I", self.photo.size, 0)
        whole.paste(laid, corner)
        labels = np.asarray(whole)
        tones = np.asarray([(0, 0, 0), *colors], np.float32)
        mixed = np.where(labels[..., None] > 0, grey * (1 - strength) + tones[labels] * strength, grey)
        return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))

    def shrunk(self, mask_HW: Array) -> Array:
        """A mask at the shown photo's size."""
        small = Image.fromarray(mask_HW).convert("L").resize(self.photo.size, Image.Resampling.BOX)
        return np.asarray(small) > 127

    def around(self, mask_HW: Array) -> tuple[int, int, int, int]:
        """The square of the shown photo around a mask, with some room: left, top, right, bottom."""
        rows, columns = np.nonzero(self.shrunk(mask_HW))
        width, height = self.photo.size
        if not len(rows):
            return 0, 0, width, height
        side = round(1.25 * max(np.ptp(rows), np.ptp(columns))) + 8
        wide, tall = min(side, width), min(side, height)
        left = min(max(0, round((columns.min() + columns.max() - wide) / 2)), width - wide)
        top = min(max(0, round((rows.min() + rows.max() - tall) / 2)), height - tall)
        return left, top, left + wide, top + tall

    def cut_out(self, mask_HW: Array) -> Image.Image:
        """The thing alone: outside the mask the photo is faint and grey."""
        inside = self.shrunk(mask_HW)[..., None]
        grey = np.asarray(self.photo.convert("L").convert("RGB")) * 0.22 + 18
        return Image.fromarray(np.where(inside, np.asarray(self.photo), grey).astype(np.uint8))

    def dimmed(self, picture: Image.Image, mask_HW: Array) -> Image.Image:
        """A map of the whole photo, dark outside the mask."""
        inside = self.shrunk(mask_HW)[..., None]
        return Image.fromarray(np.where(inside, np.asarray(picture), np.asarray(picture) * 0.3).astype(np.uint8))


def label_colors(labels_hw: Array) -> list[tuple[int, int, int]]:
    return concept_colors(int(labels_hw.max(initial=-1)) + 1)


def mask_labels(masks_Khw: Array) -> Array:
    """Disjoint masks as labels (h, w), -1 outside."""
    found = np.full(masks_Khw.shape[1:], -1, np.int64)
    for index, mask in enumerate(masks_Khw):
        found[mask] = index
    return found


def blocks(affinity_NN: Tensor, grid: tuple[int, int], cells: int) -> tuple[Tensor, tuple[int, int]]:
    """Mean rows of at most `cells` x `cells` blocks of cells, float32 (M, N), and the reduced grid."""
    height, width = grid
    small = (min(height, cells), min(width, cells))
    columns = affinity_NN.float().cpu().T.reshape(-1, 1, height, width)
    return torch.nn.functional.adaptive_avg_pool2d(columns, small).flatten(1).T, small


def quantised(rows_MN: Tensor, grid: tuple[int, int], small: tuple[int, int]) -> Array:
    """Affinity between blocks as uint8 (M, M): the square root (small values keep their differences) of the share of
    a row's bright end, the value that one cell in 200 exceeds (a cell's affinity to itself would outshine the rest)."""
    pooled = torch.nn.functional.adaptive_avg_pool2d(rows_MN.reshape(-1, 1, *grid), small).flatten(1)
    bright = torch.quantile(pooled, 0.995, dim=1, keepdim=True).clamp_min(1e-12)
    return np.asarray(((pooled / bright).clamp(0, 1).sqrt() * 255).round().to(torch.uint8))


def shares(rows_MN: Tensor, labels_hw: Array, count: int) -> Array:
    """Of each block's affinity the half percents that lie within each concept, uint8 (M, count)."""
    labels = torch.from_numpy(labels_hw).flatten()
    inside = torch.stack([labels == index for index in range(count)]).float() if count else torch.zeros(0, len(labels))
    return np.asarray((200 * (rows_MN @ inside.T)).round().clamp(0, 200).to(torch.uint8))


def packed(values: Array) -> str:
    """Bytes as text: deflated, then base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 6)).decode()


def reduced_labels(labels_hw: Array, small: tuple[int, int]) -> list[int]:
    """The label at the middle of each block."""
    sizes = zip(small, labels_hw.shape, strict=True)
    rows, columns = (((np.arange(count) + 0.5) * size / count).astype(int) for count, size in sizes)
    return [int(value) for value in labels_hw[np.ix_(rows, columns)].ravel()]
