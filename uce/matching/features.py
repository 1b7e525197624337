"""What a thing looks like, wherever it stands: its colours, and what the frozen model sees in it alone on plain grey.

The cut-out fills the same part of the model's square whatever the thing's size, and nothing of its background is left;
features are averaged over its cells, so that where its parts are counts little when it is turned.

Legend: K concepts; H, W pixels; S the model's side; C channels; D width of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.core.files.masks import mask_box
from uce.core.files.pictures import RgbArray
from uce.core.flow.context import Context
from uce.core.model.abilities import joint_layers
from uce.core.model.backbone import Backbone
from uce.core.model.latents import encode_picture
from uce.core.model.unet_maps import noised
from uce.core.training.views import resize_masks

Array = np.ndarray[Any, np.dtype[Any]]
SHARE, GREY = 0.8, 236
"""Of the square's side that the thing takes, and what stands around it."""
NOISE = 0.1
"""How much noise the model sees it with, as a part of its schedule."""
HUES, SATURATIONS, VALUES = 12, 3, 4


@dataclass(frozen=True, eq=False)
class Features:
    """Of the concepts of one picture.

    Attributes:
        colours: float64 (K, 144), square roots of the shares of colours inside each mask.
        seen: float64 (K, D), unit length, the model's features inside; None where the model shows none.
    """

    colours: Array
    seen: Array | None


def likeness(left: Features, right: Features) -> Array:
    """How much alike the concepts of two pictures are, float64 (A, B), at most 1: the mean of the cosines.

    Source: of the colours' it is the coefficient of Bhattacharyya (1943).
    """
    scores = left.colours @ right.colours.T
    if left.seen is not None and right.seen is not None:
        scores = (scores + left.seen @ right.seen.T) / 2
    return np.asarray(scores)


def concept_features(backbone: Backbone, original: RgbArray, masks: Sequence[Array]) -> Features:
    """Features of things.

    Args:
        original: uint8 (H, W, 3).
        masks: K of bool (H, W), none empty.
    """
    colours = (
        np.stack([_colours(original[mask]) for mask in masks]) if masks else np.zeros((0, HUES * SATURATIONS * VALUES))
    )
    if not hasattr(backbone, "capture_features"):
        return Features(colours, None)
    cut_outs = [on_grey(original, mask, backbone.picture_side) for mask in masks]
    empty = np.full((backbone.picture_side, backbone.picture_side, 3), GREY, np.uint8)
    nothing = _inside(backbone, empty, np.ones(empty.shape[:2], np.bool_))
    rows = [_inside(backbone, *cut_out) - nothing for cut_out in cut_outs]
    seen = np.stack(rows) if rows else np.zeros((0, len(nothing)))
    return Features(colours, seen / np.linalg.norm(seen, axis=1, keepdims=True).clip(1e-12))


def on_grey(original: RgbArray, mask: Array, side: int) -> tuple[RgbArray, Array]:
    """The thing alone in the middle of a grey square: uint8 (S, S, 3), and where it is, bool (S, S)."""
    rows, columns = (slice(*span) for span in mask_box(mask))
    alone = Image.fromarray(np.dstack([original[rows, columns], np.uint8(255) * mask[rows, columns]]))
    scale = SHARE * side / max(alone.size)
    width, height = (max(1, round(length * scale)) for length in alone.size)
    alone = alone.resize((width, height), Image.Resampling.BICUBIC)
    place, inside = ((side - width) // 2, (side - height) // 2), alone.getchannel("A")
    square, shown = Image.new("RGB", (side, side), (GREY,) * 3), Image.new("L", (side, side))
    square.paste(alone, place, inside)
    shown.paste(inside, place)
    return np.asarray(square), np.asarray(shown) > 127


def _colours(pixels_P3: RgbArray) -> Array:
    """Square roots of the shares of hue, saturation and value, float64 (144,): a unit vector."""
    hsv = np.asarray(Image.fromarray(pixels_P3[None]).convert("HSV"))[0].astype(np.int64)
    hue, saturation, value = (hsv * [HUES, SATURATIONS, VALUES] // 256).T
    bins = (hue * SATURATIONS + saturation) * VALUES + value
    return np.asarray(np.sqrt(np.bincount(bins, minlength=HUES * SATURATIONS * VALUES) / len(bins)))


@torch.no_grad()
def _inside(backbone: Backbone, picture: RgbArray, shown: Array) -> Array:
    """Mean of a decoder block's features over the cells that show the thing, float64 (D,)."""
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 127.5 - 1
    timestep = int(NOISE * backbone.num_timesteps)
    latents = encode_picture(backbone, pixels)
    noisy = noised(backbone, latents, timestep, Context(seed=0, stage="match"), "noise")
    block = len(joint_layers(backbone)) // 2 or 1
    with backbone.capture_features(block) as found:
        times = torch.full((1,), timestep, device=latents.device)
        backbone.predict(noisy, times, backbone.encode_prompts([backbone.tokenize("")]))
    features_Chw: Tensor = found[block][0].float().cpu()
    cells = resize_masks(torch.from_numpy(shown)[None], (features_Chw.shape[1], features_Chw.shape[2]))[0]
    return features_Chw[:, cells].double().mean(dim=1).numpy()
