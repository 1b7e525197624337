"""Pictures for people: every concept outlined in a colour of its own and labelled with its token."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from uce.core.files.masks import mask_box

Array = np.ndarray[Any, Any]
SMALLEST_FONT = 8
LARGEST_SIDE = 4096
"""Pixels of an overlay's longer side: it is for people, and larger ones take minutes to draw and to look at."""
_GOLDEN = 0.6180339887498949  # successive multiples of the golden ratio spread hues evenly, however many there are


def concept_colors(count: int) -> list[tuple[int, int, int]]:
    """One saturated RGB colour per concept, neighbours far apart in hue."""
    colors = []
    for index in range(count):
        hue = (0.58 + index * _GOLDEN) % 1
        rgb = colorsys.hsv_to_rgb(hue, 0.85, 1.0 if 0.1 < hue < 0.5 else 0.95)
        colors.append((round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)))
    return colors


def draw_overlay(original: Array, masks: Array, names: Sequence[str], min_side: int = 640) -> Image.Image:
    """The picture, dimmed where no concept is, with outlines and labels; small ones are enlarged, large made smaller.

    Args:
        original: uint8 (H, W, 3) RGB.
        masks: bool (K, H, W).
        names: K labels.
        min_side: the longer side is at least so many pixels, so that labels stay readable.
    """
    original, masks = _bounded(original, masks)
    height, width = original.shape[:2]
    factor = max(1, -(-min_side // max(height, width)))
    canvas = np.asarray(Image.fromarray(original).resize((width * factor, height * factor), Image.Resampling.BICUBIC))
    big = masks.repeat(factor, axis=1).repeat(factor, axis=2)
    thickness = max(1, round(max(canvas.shape[:2]) / 320))
    painted = np.where(np.expand_dims(big.any(axis=0), 2), canvas, _values(0.55)[canvas])
    colors = concept_colors(len(masks))
    parts = [(mask[_around(mask)], _around(mask), color) for mask, color in zip(big, colors, strict=True) if mask.any()]
    for mask, around, color in parts:
        for channel, value in enumerate(color):
            part = painted[around][..., channel]
            np.copyto(part, _values(0.88, value, 0.12)[part], where=mask)
    for mask, around, color in parts:
        painted[around][_outline(mask, thickness)] = color
    picture = Image.fromarray(painted)
    _draw_labels(picture, big, names, colors)
    return picture


def _values(share: float, other: int = 0, other_share: float = 0.0) -> Array:
    """What becomes of each value of a channel, uint8 (256,): read from a table in a third of the time."""
    mixed = np.arange(256, dtype=np.float32) * share + np.float32(other) * np.float32(other_share)
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def _bounded(original: Array, masks: Array) -> tuple[Array, Array]:
    """Picture and masks with at most `LARGEST_SIDE` pixels per side."""
    height, width = original.shape[:2]
    longer = max(height, width)
    if longer <= LARGEST_SIDE:
        return original, masks
    new = [max(1, round(side * LARGEST_SIDE / longer)) for side in (height, width)]
    picture = Image.fromarray(original).resize((new[1], new[0]), Image.Resampling.BICUBIC, reducing_gap=2.0)
    rows, columns = ((np.arange(n) * 2 + 1) * side // (2 * n) for n, side in zip(new, (height, width), strict=True))
    return np.asarray(picture), masks[:, rows][:, :, columns]


def _around(mask: Array) -> tuple[slice, slice]:
    """The part of the picture that holds the mask, and a pixel more on each side."""
    (top, bottom), (left, right) = mask_box(mask)
    return slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)


def _outline(mask: Array, thickness: int) -> Array:
    """The mask's pixels no further than `thickness` from its inner boundary."""
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import find_boundaries

    edge = find_boundaries(mask, mode="inner")
    if not edge.any():  # it is all of the picture
        return np.zeros_like(mask)
    return np.asarray((distance_transform_edt(~edge) <= thickness) & mask)


def _draw_labels(picture: Image.Image, masks: Array, names: Sequence[str], colors: Sequence[Any]) -> None:
    """Labels sit at their concept's most inner point, moved apart where they would cover each other."""
    draw = ImageDraw.Draw(picture)
    size = max(12, round(max(picture.size) / 32))
    pad = max(3, size // 4)
    placed: list[tuple[int, int, int, int]] = []
    for mask, name, color in zip(masks, names, colors, strict=True):
        font = _font(draw, name, size, picture.width - 2 * pad)
        left, top, right, bottom = draw.textbbox((0, 0), name, font=font)
        box_width, box_height = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
        row, column = inner_point(mask)
        x = int(min(max(column - box_width / 2, 0), max(0, picture.width - box_width)))
        y = int(min(max(row - box_height / 2, 0), max(0, picture.height - box_height)))
        y = _free_row(x, y, box_width, box_height, placed, picture.height)
        placed.append((x, y, box_width, box_height))
        draw.rounded_rectangle((x, y, x + box_width, y + box_height), radius=pad, fill=color)
        dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
        draw.text((x + pad - left, y + pad - top), name, font=font, fill="black" if dark else "white")


def _font(draw: ImageDraw.ImageDraw, name: str, size: int, width: int) -> Any:
    """The largest font of at most `size` in which `name` is no wider than `width`, as long as one can read it."""
    for smaller in range(size, SMALLEST_FONT - 1, -1):
        font = ImageFont.load_default(smaller)
        left, _, right, _ = draw.textbbox((0, 0), name, font=font)
        if right - left <= width:
            break
    return font


def inner_point(mask: Array) -> tuple[float, float]:
    """The pixel furthest from the mask's border: inside it, however bent it is; the middle where it is empty."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        row, column = divmod(mask.size // 2, mask.shape[1])
        return float(row), float(column)
    rows, columns = _around(mask)
    distance = distance_transform_edt(np.pad(mask[rows, columns], 1))[1:-1, 1:-1]
    best = np.argwhere(distance == distance.max())
    row, column = best[len(best) // 2]
    return float(row + rows.start), float(column + columns.start)


def _free_row(x: int, y: int, width: int, height: int, placed: list[tuple[int, int, int, int]], limit: int) -> int:
    """The row nearest to `y` at which a label covers none of those placed."""
    for step in range(limit):
        for candidate in (y + step, y - step):
            if 0 <= candidate <= limit - height and not any(
                x < px + pw and px < x + width and candidate < py + ph and py < candidate + height
                for px, py, pw, ph in placed
            ):
                return candidate
    return y
