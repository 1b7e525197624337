"""Where the things of a scene stand: apart, beside each other, touching, or one covering another.

A corner is the (x, y) in pixels of a pose's top-left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from uce.scenes.textures import Rng

Layout = Literal["centred", "apart", "beside", "touching", "overlapping"]
Poses = Sequence[Image.Image]
Corners = list[tuple[int, int]]
GAP = 0.02  # of the side, between things that stand beside each other
COVERED = (0.15, 0.35)  # share of a thing that the next one covers


def place(rng: Rng, poses: Poses, side: int, layout: Layout) -> Corners:
    """Corners of posed things in a picture of `side` pixels.

    "centred" is for one thing; "apart" puts things anywhere with little overlap of boxes; the others make a row.
    """
    if layout == "centred":
        return [(round((side - poses[0].width) / 2), round((side - poses[0].height) / 2))]
    return _apart(rng, poses, side) if layout == "apart" else _row(rng, poses, side, layout)


def _apart(rng: Rng, poses: Poses, side: int) -> Corners:
    best: Corners = []
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


def _overlap(corners: Corners, poses: Poses) -> float:
    """Largest share of a box that another box covers."""
    worst = 0.0
    for i, (xi, yi) in enumerate(corners):
        for j, (xj, yj) in enumerate(corners[:i]):
            width = min(xi + poses[i].width, xj + poses[j].width) - max(xi, xj)
            height = min(yi + poses[i].height, yj + poses[j].height) - max(yi, yj)
            smaller = min(poses[i].width * poses[i].height, poses[j].width * poses[j].height)
            worst = max(worst, max(0, width) * max(0, height) / smaller)
    return worst


def _row(rng: Rng, poses: Poses, side: int, layout: Layout) -> Corners:
    """Things in a row: each slid towards the one before until they touch, or cover it as much as is wanted."""
    solid = [np.asarray(pose)[..., 3] > 127 for pose in poses]
    tops = [int(rng.integers(-side // 40, side // 40 + 1)) - pose.height // 2 for pose in poses]
    lefts = [0]
    for number in range(1, len(poses)):
        wanted = float(rng.uniform(*COVERED)) if layout == "overlapping" else 0.0
        before = (lefts[-1], tops[number - 1])
        left = lefts[-1] + poses[number - 1].width
        while left > lefts[-1]:
            share = _covered(solid[number - 1], before, solid[number], (left - 1, tops[number]))
            if share > wanted:
                break
            left -= 1
        lefts.append(left + (max(1, round(GAP * side)) if layout == "beside" else 0))
    width = lefts[-1] + poses[-1].width
    start = (side - width) // 2
    middle = side // 2 + int(rng.integers(-side // 8, side // 8 + 1))
    low, high = -min(tops), side - max(top + pose.height for top, pose in zip(tops, poses, strict=True))
    middle = int(np.clip(middle, low, max(low, high)))
    return [(start + left, middle + top) for left, top in zip(lefts, tops, strict=True)]


def _covered(
    below: npt.NDArray[np.bool_], corner: tuple[int, int], above: npt.NDArray[np.bool_], other: tuple[int, int]
) -> float:
    """Share of `below` that `above` covers, both solid parts at the corners (x, y)."""
    left, top = max(corner[0], other[0]), max(corner[1], other[1])
    right = min(corner[0] + below.shape[1], other[0] + above.shape[1])
    bottom = min(corner[1] + below.shape[0], other[1] + above.shape[0])
    if right <= left or bottom <= top:
        return 0.0
    first = below[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
    second = above[top - other[1] : bottom - other[1], left - other[0] : right - other[0]]
    return float((first & second).sum() / max(1, below.sum()))
