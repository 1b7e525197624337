"""Procedural backgrounds: plain, graded, two-toned and textured, all from one random generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.float32]  # (H, W, 3) in [0, 1]
Rng = np.random.Generator

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 55, 50), "orange": (238, 146, 60), "yellow": (245, 216, 95), "green": (96, 168, 84),
    "teal": (70, 160, 160), "blue": (72, 120, 205), "purple": (132, 92, 185), "pink": (240, 168, 192),
    "brown": (132, 94, 66), "grey": (150, 152, 156), "white": (240, 240, 238), "black": (38, 38, 42),
}  # fmt: skip


def noise(rng: Rng, side: int, cells: tuple[int, int], octaves: int = 3) -> npt.NDArray[np.float32]:
    """Smooth noise (side, side) in [0, 1] with `cells` (rows, columns) random cells at the first octave."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        rows, columns = (min(side, count * 2**octave) for count in cells)
        grid = rng.random((rows, columns), dtype=np.float32)
        layer = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def _mix(first: tuple[float, ...], second: tuple[float, ...], share: npt.NDArray[np.float32]) -> Picture:
    a, b = np.asarray(first, np.float32) / 255, np.asarray(second, np.float32) / 255
    return np.asarray(a + (b - a) * share[..., None], np.float32)


def _shade(rng: Rng, name: str) -> tuple[float, float, float]:
    base = np.asarray(COLOURS[name], np.float32) + rng.normal(0, 9, 3)
    red, green, blue = np.clip(base, 0, 255)
    return float(red), float(green), float(blue)


def plain(rng: Rng, side: int, name: str) -> Picture:
    """One colour all over."""
    colour = np.asarray(_shade(rng, name), np.float32) / np.float32(255)
    return np.asarray(np.broadcast_to(colour, (side, side, 3)).copy(), np.float32)


def graded(rng: Rng, side: int, name: str) -> Picture:
    """One colour, lighter to one side."""
    base = _shade(rng, name)
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    share = np.clip(xs * np.cos(angle) + ys * np.sin(angle) + 0.5, 0, 1).astype(np.float32)
    light = tuple(value + (255 - value) * rng.uniform(0.25, 0.55) for value in base)
    return _mix(base, light, share)


def two_toned(rng: Rng, side: int, name: str) -> Picture:
    """A wall of one colour above a floor of a darker or lighter one, the edge a little soft."""
    base = _shade(rng, name)
    factor = rng.choice([rng.uniform(0.6, 0.8), rng.uniform(1.15, 1.3)])
    floor = tuple(min(255.0, value * factor) for value in base)
    ys = np.mgrid[0:side, 0:side][0].astype(np.float32) / side
    share = np.clip((ys - rng.uniform(0.5, 0.75)) * rng.uniform(20, 80) + 0.5, 0, 1)
    return _mix(base, floor, np.asarray(share, np.float32))


def snow(rng: Rng, side: int) -> Picture:
    """White drifts with bluish shade."""
    return _mix((206, 218, 236), (250, 252, 255), noise(rng, side, (3, 2), 4))


def grass(rng: Rng, side: int) -> Picture:
    """Green, finely mottled, blades upright."""
    return _mix((60, 118, 44), (142, 190, 84), 0.5 * noise(rng, side, (6, 16), 3) + 0.5 * noise(rng, side, (2, 2)))


def sand(rng: Rng, side: int) -> Picture:
    """Warm dunes with fine grain."""
    return _mix(
        (206, 170, 112), (242, 216, 164), 0.75 * noise(rng, side, (5, 1), 2) + 0.25 * noise(rng, side, (24, 24), 2)
    )


def wood(rng: Rng, side: int) -> Picture:
    """Brown boards with grain along them."""
    grain = noise(rng, side, (18, 1), 3)
    picture = _mix((122, 76, 40), (186, 130, 80), grain)
    board = max(4, int(side * rng.uniform(0.2, 0.3)))
    for start in range(int(rng.integers(board)), side, board):
        picture[start : start + max(1, side // 96)] *= 0.72
    return picture


def sea(rng: Rng, side: int) -> Picture:
    """Blue water with lying waves."""
    return _mix((28, 90, 150), (96, 178, 214), noise(rng, side, (9, 2), 3))


def night(rng: Rng, side: int) -> Picture:
    """A dark blue sky with stars."""
    picture = _mix((12, 16, 44), (36, 44, 92), noise(rng, side, (2, 2), 2))
    dot = max(1, side // 128)
    for _ in range(int(rng.integers(14, 30))):
        row, column = rng.integers(0, side - dot, 2)
        picture[row : row + dot, column : column + dot] = rng.uniform(0.6, 1.0)
    return picture


def sky(rng: Rng, side: int) -> Picture:
    """Daylight with soft clouds."""
    share = np.clip(noise(rng, side, (3, 2), 4) * 1.8 - 0.8, 0, 1)
    return _mix((112, 176, 232), (246, 249, 252), np.asarray(share, np.float32))


def stone(rng: Rng, side: int) -> Picture:
    """Grey, mottled."""
    return _mix((112, 112, 116), (178, 176, 172), noise(rng, side, (7, 7), 3))


TEXTURES: dict[str, Callable[[Rng, int], Picture]] = {
    "snow": snow, "grass": grass, "sand": sand, "wood": wood, "sea": sea, "night": night, "sky": sky, "stone": stone,
}  # fmt: skip


def background(rng: Rng, side: int) -> tuple[Picture, str]:
    """Draw a random background and say its name: a colour's or a texture's."""
    if rng.random() < 0.3:
        name = str(rng.choice(list(TEXTURES)))
        return TEXTURES[name](rng, side), name
    name = str(rng.choice(list(COLOURS)))
    maker = [plain, graded, two_toned][int(rng.choice(3, p=[0.4, 0.35, 0.25]))]
    return maker(rng, side, name), name
