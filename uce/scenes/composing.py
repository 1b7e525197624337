"""Compose scenes: objects on a background, with the truth of where each one is.

A scene is determined by (seed, index) and the list of objects; the side is free, so the same
composer makes 128 px training pictures and 512 px examples.

Shapes: picture uint8 (H, W, 3); masks bool (K, H, W), disjoint, what is visible of each object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from uce.scenes.layouts import Layout, place
from uce.scenes.objects import crop_visible
from uce.scenes.textures import Rng, background
from uce.scenes.things import Loader, Thing

PORTRAIT = 0.8  # share of the side that a portrait's longer side takes
MIN_VISIBLE = 0.7  # share of each object that later ones may not cover


@dataclass(frozen=True)
class Scene:
    """A composed picture, its truth and what is in it."""

    picture: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    things: tuple[Thing, ...]
    background: str


def pose_thing(rng: Rng, picture: Image.Image, side: int, size: float, tilt: float, flip: float) -> Image.Image:
    """Flip with a probability, tilt and scale an object to `size` (share of the scene's side)."""
    if rng.random() < flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = rng.uniform(-tilt, tilt)
    if abs(angle) > 1:
        picture = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    return crop_visible(picture, max(4, round(size * side)))


def _size(rng: Rng, count: int, layout: Layout) -> float:
    if layout == "apart":
        low, high = {1: (0.42, 0.85), 2: (0.34, 0.55), 3: (0.29, 0.46)}.get(count, (0.25, 0.4))
    else:  # a row must fit into the picture
        low, high = {2: (0.28, 0.48), 3: (0.24, 0.36)}.get(count, (0.18, 0.27))
    return float(rng.uniform(low, high))


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
    things: Sequence[Thing],
    loader: Loader,
    seed: int,
    index: int,
    side: int = 128,
    portrait: bool = False,
    layout: Layout = "apart",
) -> Scene:
    """Compose one scene; the same arguments always give the same scene.

    Args:
        things: one to four objects, painted in this order.
        loader: gives the cropped RGBA picture of a thing.
        seed, index: determine pose, place and background.
        side: height and width in pixels.
        portrait: a single thing shown large, upright, unflipped and in the centre. The same every time, so that
            a few thousand pictures teach its shape; with jitter a model this small learned blurs.
        layout: where several things stand.

    Raises:
        ValueError: no things.
    """
    if not things:
        raise ValueError("a scene needs at least one thing")
    if len(things) == 1:
        layout = "centred" if portrait else "apart"
    for attempt in range(6):
        rng = np.random.default_rng((seed, index, attempt))
        scene, shown = _attempt(list(things), loader, rng, side, layout)
        if shown >= MIN_VISIBLE:
            break
    return scene


def _attempt(things: list[Thing], loader: Loader, rng: Rng, side: int, layout: Layout) -> tuple[Scene, float]:
    canvas, name = background(rng, side)
    portrait = layout == "centred"
    sizes = [PORTRAIT if portrait else _size(rng, len(things), layout) for _ in things]
    poses = [
        pose_thing(rng, loader(thing), side, size, 0 if portrait else 20, 0 if portrait else 0.5)
        for thing, size in zip(things, sizes, strict=True)
    ]
    corners = place(rng, poses, side, layout)
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


def labels(scene: Scene) -> Image.Image:
    """The truth as an 8-bit label picture."""
    numbers = np.arange(1, len(scene.masks) + 1, dtype=np.uint8)[:, None, None]
    return Image.fromarray((scene.masks * numbers).max(0))
