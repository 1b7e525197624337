"""The things that scenes show: objects as drawn, and variants of them with other shapes and colours.

957 objects alone are learned by heart rather than by what they look like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from uce.scenes.objects import crop_visible
from uce.scenes.textures import Rng

TWINS = 0.12  # how often the next thing of a scene is the one before again


@dataclass(frozen=True)
class Variant:
    """How a variant of an object differs from the object as drawn."""

    hue: float = 0.0  # turn of all hues, share of the colour circle
    stretch: float = 1.0  # width over height, beside the object's own
    shear: float = 0.0  # shift to the side per height
    turns: int = 0  # quarter turns
    mirror: bool = False
    colour: float = 1.0  # factor of the saturation
    light: float = 1.0  # factor of the brightness
    mate: int = 0  # how many places further on is the object that gives the lower half; 0 for none


def _random_variant(rng: Random, mated: bool) -> Variant:
    return Variant(
        hue=rng.random(),
        stretch=1.6 ** rng.uniform(-1, 1),
        shear=rng.uniform(-0.35, 0.35) * rng.choice((0, 1)),
        turns=rng.choice((0, 0, 1, 2, 3)),
        mirror=rng.random() < 0.5,
        colour=rng.uniform(0.4, 1.3),
        light=rng.uniform(0.7, 1.15),
        mate=rng.randrange(1, 400) if mated else 0,
    )


LISTED = (
    Variant(),
    Variant(hue=0.25),
    Variant(hue=0.5),
    Variant(hue=0.75),
    Variant(stretch=1.5),
    Variant(stretch=0.67),
    Variant(hue=0.4, mirror=True),
    Variant(hue=0.6, turns=1),
    Variant(hue=0.15, turns=2),
    Variant(hue=0.85, shear=0.35),
    Variant(hue=0.35, shear=-0.35),
    Variant(hue=0.1, stretch=1.3, mirror=True),
)
_RNG = Random(1)
# 0 is the object as drawn; a third of those drawn at random joins two objects, which makes outlines that are new.
VARIANTS = LISTED + tuple(_random_variant(_RNG, number % 3 == 2) for number in range(36))


@dataclass(frozen=True)
class Thing:
    """One object in a scene: which picture, which variant."""

    stem: str
    variant: int = 0


Loader = Callable[[Thing], Image.Image]  # gives the cropped RGBA of a thing


def recolour(picture: Image.Image, hue: float, colour: float = 1.0, light: float = 1.0) -> Image.Image:
    """Turn all hues by a share of the colour circle, scale saturation and brightness; alpha stays."""
    if (hue, colour, light) == (0.0, 1.0, 1.0):
        return picture
    alpha = picture.getchannel("A")
    hsv = np.array(picture.convert("RGB").convert("HSV")).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + round(hue * 256)) % 256
    hsv[..., 1:] = np.clip(np.round(hsv[..., 1:] * np.asarray((colour, light), np.float32)), 0, 255)
    changed = Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB").convert("RGBA")
    changed.putalpha(alpha)
    return changed


def join(upper: Image.Image, lower: Image.Image) -> Image.Image:
    """The upper half of one RGBA object on the lower half of another, of the first one's size."""
    joined = lower.resize(upper.size, Image.Resampling.LANCZOS)
    joined.paste(upper.crop((0, 0, upper.width, upper.height // 2)), (0, 0))
    return joined


def make_variant(picture: Image.Image, variant: Variant) -> Image.Image:
    """A variant of a cropped RGBA object, cropped again; its longer side stays as long."""
    if (variant.stretch, variant.shear, variant.turns, variant.mirror) != (1.0, 0.0, 0, False):
        picture = _reshape(picture, variant)
    return recolour(picture, variant.hue, variant.colour, variant.light)


def _reshape(picture: Image.Image, variant: Variant) -> Image.Image:
    side = max(picture.size)
    if variant.mirror:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    width, height = round(picture.width * variant.stretch), picture.height
    picture = picture.resize((max(1, width), height), Image.Resampling.LANCZOS)
    lean = abs(variant.shear) * height
    picture = picture.transform(
        (round(picture.width + lean), height),
        Image.Transform.AFFINE,
        (1, variant.shear, min(0.0, -variant.shear * height), 0, 1, 0),
        Image.Resampling.BICUBIC,
    )
    return crop_visible(picture.rotate(90 * variant.turns, expand=True), side)


def make_loader(load: Callable[[str], Image.Image], stems: Sequence[str] = ()) -> Loader:
    """A caching loader of variants over a loader of stems.

    Args:
        load: gives the cropped RGBA of an object.
        stems: the objects among which mates are counted; without them no variant has a mate.
    """
    cache: dict[Thing, Image.Image] = {}
    place = {stem: number for number, stem in enumerate(stems)}

    def loader(thing: Thing) -> Image.Image:
        if thing not in cache:
            variant, picture = VARIANTS[thing.variant], load(thing.stem)
            if variant.mate and stems:
                mate = load(stems[(place[thing.stem] + variant.mate) % len(stems)])
                picture = crop_visible(join(picture, mate), max(picture.size))
            cache[thing] = make_variant(picture, variant)
        return cache[thing]

    return loader


def draw_things(
    rng: Rng, stems: Sequence[str], weights: npt.NDArray[np.float64], count: int, varied: float, twins: float = TWINS
) -> list[Thing]:
    """Draw `count` things; with probability `twins` the one before again, with `varied` a variant."""
    things: list[Thing] = []
    for _ in range(count):
        if things and rng.random() < twins:
            things.append(things[-1])
            continue
        stem = stems[int(rng.choice(len(stems), p=weights))]
        things.append(Thing(stem, int(rng.integers(1, len(VARIANTS))) if rng.random() < varied else 0))
    return things


Floats = npt.NDArray[np.float32]
THUMBNAIL = 16  # pixels along each side


def centred(picture: Image.Image, side: int, grey: int = 236) -> tuple[npt.NDArray[np.uint8], Floats]:
    """An RGBA object on a plain square: uint8 (side, side, 3) and alpha (side, side)."""
    canvas = Image.new("RGBA", (side, side))
    scale = 0.92 * side / max(picture.size)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
    )
    canvas.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    rgba = np.asarray(canvas, np.float32)
    alpha = rgba[..., 3:] / np.float32(255)
    flat = rgba[..., :3] * alpha + grey * (1 - alpha)
    return np.round(flat).astype(np.uint8), alpha[..., 0]


def thumbnail(picture: Image.Image) -> Floats:
    """A 16 x 16 thumbnail with alpha, (16 * 16 * 4,) in [-1, 1]."""
    small, alpha = centred(picture, THUMBNAIL, grey=128)
    return np.concatenate([small.astype(np.float32) / 127.5 - 1, 2 * alpha[..., None] - 1], -1).reshape(-1)
