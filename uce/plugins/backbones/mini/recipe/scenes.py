"""Compose scenes: objects on a background, with the truth of where each one is.

A scene is determined by (seed, index) and the list of objects; the side is free, so the same
composer makes 128 px training pictures and 512 px examples.

Shapes: picture uint8 (H, W, 3); masks bool (K, H, W), disjoint, what is visible of each object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from uce.plugins.backbones.mini.recipe.objects import crop_visible, shift_hue
from uce.plugins.backbones.mini.recipe.textures import Rng, background

PORTRAIT = 0.8  # share of the side that a portrait's longer side takes
MIN_VISIBLE = 0.7  # share of each object that later ones may not cover


@dataclass(frozen=True)
class Variant:
    """How a variant of an object differs from the object as drawn."""

    hue: float = 0.0  # turn of all hues, share of the colour circle
    stretch: float = 1.0  # width over height, beside the object's own
    shear: float = 0.0  # shift to the side per height
    turns: int = 0  # quarter turns
    mirror: bool = False


# 0 is the object as drawn. The others are new shapes and colours: 957 objects alone are learned by heart rather than
# by what they look like.
VARIANTS = (
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


@dataclass(frozen=True)
class Thing:
    """One object in a scene: which picture, which variant."""

    stem: str
    variant: int = 0


@dataclass(frozen=True)
class Scene:
    """A composed picture, its truth and what is in it."""

    picture: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    things: tuple[Thing, ...]
    background: str


Loader = Callable[[Thing], Image.Image]  # gives the cropped RGBA of a thing


def make_variant(picture: Image.Image, variant: Variant) -> Image.Image:
    """A variant of a cropped RGBA object, cropped again; its longer side stays as long."""
    if variant == Variant(hue=variant.hue):
        return shift_hue(picture, variant.hue)
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
    picture = picture.rotate(90 * variant.turns, expand=True)
    return crop_visible(shift_hue(picture, variant.hue), side)


def make_loader(load: Callable[[str], Image.Image]) -> Loader:
    """A caching loader of variants over a loader of stems."""
    cache: dict[Thing, Image.Image] = {}

    def loader(thing: Thing) -> Image.Image:
        if thing not in cache:
            cache[thing] = make_variant(load(thing.stem), VARIANTS[thing.variant])
        return cache[thing]

    return loader


def pose_thing(rng: Rng, picture: Image.Image, side: int, size: float, tilt: float, flip: float) -> Image.Image:
    """Flip with a probability, tilt and scale an object to `size` (share of the scene's side)."""
    if rng.random() < flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = rng.uniform(-tilt, tilt)
    if abs(angle) > 1:
        picture = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    return crop_visible(picture, max(4, round(size * side)))


def _size(rng: Rng, count: int) -> float:
    low, high = {1: (0.42, 0.85), 2: (0.34, 0.55), 3: (0.29, 0.46)}.get(count, (0.25, 0.4))
    return float(rng.uniform(low, high))


def place_apart(rng: Rng, poses: Sequence[Image.Image], side: int, jitter: float | None) -> list[tuple[int, int]]:
    """Top-left corners: near the centre with `jitter`, else anywhere with little overlap of boxes."""
    if jitter is not None:
        shift = rng.uniform(-jitter, jitter, 2) * side
        return [(round((side - poses[0].width) / 2 + shift[0]), round((side - poses[0].height) / 2 + shift[1]))]
    best: list[tuple[int, int]] = []
    least = np.inf
    for _ in range(40):
        corners = [
            (int(rng.integers(0, max(1, side - pose.width + 1))), int(rng.integers(0, max(1, side - pose.height + 1))))
            for pose in poses
        ]
        cover = _overlap(corners, poses)
        if cover < least:
            best, least = corners, cover
        if least <= 0.1:
            break
    return best


def _overlap(corners: list[tuple[int, int]], poses: Sequence[Image.Image]) -> float:
    """Largest share of a box that another box covers."""
    worst = 0.0
    for i, (xi, yi) in enumerate(corners):
        for j, (xj, yj) in enumerate(corners[:i]):
            width = min(xi + poses[i].width, xj + poses[j].width) - max(xi, xj)
            height = min(yi + poses[i].height, yj + poses[j].height) - max(yi, yj)
            smaller = min(poses[i].width * poses[i].height, poses[j].width * poses[j].height)
            worst = max(worst, max(0, width) * max(0, height) / smaller)
    return worst


def _paint(
    canvas: npt.NDArray[np.float32], pose: Image.Image, corner: tuple[int, int], shadow: float
) -> npt.NDArray[np.float32]:
    """Lay an object, and its shadow, onto the canvas in place; give its alpha (H, W)."""
    side = canvas.shape[0]
    layer = Image.new("RGBA", (side, side))
    layer.paste(pose, corner)
    rgba = np.asarray(layer, np.float32) / np.float32(255)
    if shadow > 0:
        dark = Image.new("L", (side, side))
        dark.paste(pose.getchannel("A"), (corner[0] + round(0.012 * side), corner[1] + round(0.025 * side)))
        soft = np.asarray(dark.filter(ImageFilter.GaussianBlur(0.02 * side)), np.float32) / 255
        canvas *= 1 - shadow * soft[..., None]
    alpha = rgba[..., 3]
    canvas += (rgba[..., :3] - canvas) * alpha[..., None]
    return alpha


def _visible(alphas: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.bool_]:
    """Disjoint masks: each object where its alpha is over one half and no later object covers it."""
    masks = np.stack([alpha > 0.5 for alpha in alphas])
    covered = np.zeros(masks.shape[1:], np.bool_)
    for index in range(len(masks) - 1, -1, -1):
        masks[index] &= ~covered
        covered |= masks[index]
    return masks


def compose(
    things: Sequence[Thing], loader: Loader, seed: int, index: int, side: int = 128, portrait: bool = False
) -> Scene:
    """Compose one scene; the same arguments always give the same scene.

    Args:
        things: one to four objects, painted in this order.
        loader: gives the cropped RGBA picture of a thing.
        seed, index: determine pose, place and background.
        side: height and width in pixels.
        portrait: a single thing shown large, upright, unflipped and in the centre. The same every time, so that
            a few thousand pictures teach its shape; with jitter a model this small learned blurs.

    Raises:
        ValueError: no things.
    """
    if not things:
        raise ValueError("a scene needs at least one thing")
    for attempt in range(6):
        rng = np.random.default_rng((seed, index, attempt))
        scene, shown = _attempt(list(things), loader, rng, side, portrait and len(things) == 1)
        if shown >= MIN_VISIBLE:
            break
    return scene


def _attempt(things: list[Thing], loader: Loader, rng: Rng, side: int, portrait: bool) -> tuple[Scene, float]:
    canvas, name = background(rng, side)
    sizes = [PORTRAIT if portrait else _size(rng, len(things)) for _ in things]
    poses = [
        pose_thing(rng, loader(thing), side, size, 0 if portrait else 20, 0 if portrait else 0.5)
        for thing, size in zip(things, sizes, strict=True)
    ]
    corners = place_apart(rng, poses, side, 0.0 if portrait else None)
    shadow = draw_shadow(rng)
    return render(canvas, name, things, poses, corners, shadow)


def draw_shadow(rng: Rng) -> float:
    """How dark the things' shadows are; 0 for none."""
    return float(rng.uniform(0.15, 0.45)) if rng.random() < 0.6 else 0.0


def render(
    canvas: npt.NDArray[np.float32],
    name: str,
    things: Sequence[Thing],
    poses: Sequence[Image.Image],
    corners: Sequence[tuple[int, int]],
    shadow: float,
) -> tuple[Scene, float]:
    """Paint posed things onto a canvas (in place), in order.

    Returns:
        the scene, and the least share of a thing that later ones leave visible.
    """
    alphas = [_paint(canvas, pose, corner, shadow) for pose, corner in zip(poses, corners, strict=True)]
    masks = _visible(alphas)
    shown = min(float(m.sum() / max(1, (a > 0.5).sum())) for m, a in zip(masks, alphas, strict=True))
    picture = np.clip(np.round(canvas * 255), 0, 255).astype(np.uint8)
    return Scene(picture, masks, tuple(things), name), shown


def draw_things(
    rng: Rng, stems: Sequence[str], weights: npt.NDArray[np.float64], count: int, varied: float
) -> list[Thing]:
    """Draw `count` things; sometimes two of one kind; with probability `varied` a variant."""
    things: list[Thing] = []
    for _ in range(count):
        if things and rng.random() < 0.12:
            things.append(things[-1])
            continue
        stem = stems[int(rng.choice(len(stems), p=weights))]
        things.append(Thing(stem, int(rng.integers(1, len(VARIANTS))) if rng.random() < varied else 0))
    return things
