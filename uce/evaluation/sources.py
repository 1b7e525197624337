"""A picture's things as they stand beside what is drawn: masked, cropped, and on other backgrounds.

Legend: H, W the picture's pixels; S pixels per side of what the model draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from uce.core.files.masks import mask_box
from uce.core.files.pictures import RgbArray
from uce.core.flow.picture import Picture, read_picture
from uce.evaluation.backgrounds import renderings
from uce.evaluation.settings import EvaluationSettings

FILLS = {"white": 255, "grey": 128, "black": 0}
CROP_MARGIN = 0.1  # of the thing's longer side, around a cropped source
SHARP = EvaluationSettings(source="crop", fill="grey")
"""How things are shown where one is to be recognised: what tells them apart best; see docs/evaluate.md."""
OTHERS = ("white", "grass", "sand", "wood", "sea", "night", "stone")
"""Backgrounds that stand beside a picture's own."""

Mask = np.ndarray[Any, Any]


def masked_source(picture: RgbArray, mask: Mask, settings: EvaluationSettings) -> RgbArray:
    """The picture where the mask is, the fill elsewhere; with `source=crop` only the square around the thing.

    Args:
        picture: uint8 (H, W, 3). mask: bool (H, W), not empty.
    """
    fill = FILLS[settings.fill]
    filled = np.where(mask[..., None], picture, np.uint8(fill))
    if settings.source == "masked":
        return filled
    (top, bottom), (left, right) = mask_box(mask)
    side = round(max(bottom - top, right - left) * (1 + 2 * CROP_MARGIN))
    above, before = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square = np.full((side, side, 3), fill, np.uint8)
    square[above : above + bottom - top, before : before + right - left] = filled[top:bottom, left:right]
    return square


def cropped(picture: RgbArray, mask: Mask) -> RgbArray:
    """One thing as things are recognised: its square on grey."""
    return masked_source(picture, mask, SHARP)


def on_backgrounds(picture: RgbArray, mask: Mask, things: Mask) -> list[RgbArray]:
    """One thing, where it stands: first on the picture's own background, then on each of `OTHERS`.

    Args:
        picture: uint8 (H, W, 3). mask: bool (H, W), the thing.
        things: bool (H, W), all things of the picture; the others give way to the background's mean colour.

    Returns:
        uint8 (H, W, 3) each; none where things cover everything, so that there is no background.
    """
    if things.all():
        return []
    height, width = mask.shape
    own = np.where(things[..., None], picture[~things].mean(axis=0).round().astype(np.uint8), picture)
    behind = [own]
    for name in OTHERS:
        made = Image.fromarray(renderings(name, 1, seed=0)[0]).resize((width, height), Image.Resampling.BICUBIC)
        behind.append(np.asarray(made))
    return [np.where(mask[..., None], picture, canvas) for canvas in behind]


def squared(picture: RgbArray, side: int, fit: Any, padding: int | None = None) -> RgbArray:
    """The picture as a model of that side sees it; `padding`: what stands there, None for its repeated edge."""
    seen: Picture = read_picture(picture, side, fit)
    pixels = ((seen.pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    if padding is None:
        return np.ascontiguousarray(pixels)
    top, left, height, width = seen.window
    square = np.full_like(pixels, padding)
    square[top : top + height, left : left + width] = pixels[top : top + height, left : left + width]
    return square
