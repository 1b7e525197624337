"""Which of the recipe's backgrounds a picture has: what can be known exactly of what `mini` draws.

The recipe of the embedded model's scenes (`uce.scenes.textures`) makes twelve colours and eight textures. Many
renderings of each are described by the same few numbers as the picture's outer frame; the nearest one names it.

Legend: B pictures; S pixels per side; F numbers that describe a background.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from uce.core.files.pictures import RgbArray
from uce.scenes.textures import COLOURS, TEXTURES, Rng, graded, plain, two_toned

Floats = npt.NDArray[np.float32]

SIDE = 64  # to which pictures are scaled before they are looked at
FRAME = 7  # pixels of that on every side: there a thing seldom stands
RENDERINGS = 16  # of each background
SEED = 20


def name_backgrounds(pictures: Sequence[RgbArray]) -> list[str]:
    """A colour's or a texture's name for every picture.

    Args:
        pictures: uint8 (S, S, 3), at least one.
    """
    names, known_NF, spread_F = _known()
    found_BF = np.stack([_described(picture) for picture in pictures])
    distance = (((found_BF[:, None] - known_NF[None]) / spread_F) ** 2).sum(axis=2)
    return [names[nearest] for nearest in distance.argmin(axis=1)]


@cache
def _known() -> tuple[list[str], Floats, Floats]:
    """Names, descriptions and the spread of each number within one background."""
    rows = {
        name: np.stack([_described(picture) for picture in renderings(name, RENDERINGS, SEED)])
        for name in (*COLOURS, *TEXTURES)
    }
    within = np.sqrt(np.mean([row.var(axis=0) for row in rows.values()], axis=0)).astype(np.float32)
    names = [name for name, row in rows.items() for _ in row]
    return names, np.concatenate(list(rows.values())), np.maximum(within, 1e-4)


def renderings(name: str, count: int, seed: int) -> list[RgbArray]:
    """Pictures uint8 (S, S, 3) of one background as the recipe makes them."""
    rng = np.random.default_rng((seed, [*COLOURS, *TEXTURES].index(name)))
    return [np.clip(np.round(_render(name, rng) * 255), 0, 255).astype(np.uint8) for _ in range(count)]


def _render(name: str, rng: Rng) -> Floats:
    if name in TEXTURES:
        return TEXTURES[name](rng, SIDE)
    maker: Any = rng.choice([plain, graded, two_toned])  # type: ignore[arg-type]
    drawn: Floats = maker(rng, SIDE, name)
    return drawn


def _described(picture: RgbArray) -> Floats:
    """Float32 (F,) of the frame: colours that a quarter, half and three quarters of it stay below, and how rough it
    is across and down."""
    scaled = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(scaled, np.float32) / 255
    frame = np.ones((SIDE, SIDE), np.bool_)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    colours = np.quantile(values[frame], (0.25, 0.5, 0.75), axis=0).ravel()
    grey = values.mean(axis=2)
    across = np.abs(np.diff(grey, axis=1))[frame[:, 1:] & frame[:, :-1]]
    down = np.abs(np.diff(grey, axis=0))[frame[1:] & frame[:-1]]
    rough = [np.sqrt(np.median(across)), np.sqrt(np.median(down))]  # medians: a thing may reach into the frame
    return np.asarray([*colours, *rough], np.float32)
