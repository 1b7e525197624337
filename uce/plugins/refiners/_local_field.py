"""The mean field of `edges` for many labels, each only where it can matter.

A label far from a pixel has the least prior there and hears nothing of itself, as every other such label does: all of
them share one field. What each label has of its own lies in a box around its mask.

Legend: h, w pixels; K masks; b a box's pixels (rows, columns); V voices (neighbours that a pixel hears).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Neighbours:
    """What every pixel hears: V voices float32 (h, w) of the moves (down, right), and their sum (h, w)."""

    moves: list[tuple[int, int]]
    voices: list[Floats]
    total: Floats
    reach: int

    def heard(self, around: Floats, box: Box) -> Floats:
        """The voices' sum over a field that is `reach` larger than the box on every side."""
        rows, columns = box
        height, width = rows.stop - rows.start, columns.stop - columns.start
        result = np.zeros((height, width), np.float32)
        part = np.empty_like(result)
        for (down, right), voice in zip(self.moves, self.voices, strict=True):
            top, left = self.reach + down, self.reach + right
            np.multiply(voice[box], around[top : top + height, left : left + width], out=part)
            result += part
        return np.asarray(result / self.total[box], np.float32)


def box_around(mask_HW: Masks, size: tuple[int, int], margin: int) -> Box:
    """Rows and columns of a picture of another size in which a mask lies, with a margin."""
    found = []
    for axis in (0, 1):
        along = np.flatnonzero(mask_HW.any(axis=1 - axis))
        scale = size[axis] / mask_HW.shape[axis]
        first, last = (along[0], along[-1] + 1) if len(along) else (0, 1)
        found.append(slice(max(0, int(first * scale) - margin), min(size[axis], int(np.ceil(last * scale)) + margin)))
    return found[0], found[1]


def strongest(
    masks_KHW: Masks,
    vote_hw: Floats | None,
    neighbours: Neighbours,
    width: float,
    least: float,
    weight: float,
    rounds: int,
) -> npt.NDArray[np.int64]:
    """Which mask is strongest at every pixel, int64 (H, W), 0 for none and k + 1 for mask k.

    Args:
        vote_hw: what speaks for the background besides.
        width: over how many pixels outlines are blurred at first.
        least: the share below which none counts.
    """
    size, small = masks_KHW.shape[1:], neighbours.total.shape
    margin = round(width / 2) + neighbours.reach + 1
    boxes = [box_around(mask, small, margin) for mask in masks_KHW]
    priors = [_prior(_share(mask, box, small), width, least) for mask, box in zip(masks_KHW, boxes, strict=True)]
    whole = (slice(0, small[0]), slice(0, small[1]))
    background = _prior(_share(np.asarray(~masks_KHW.any(axis=0)), whole, small), width, least)
    background = background if vote_hw is None else background + vote_hw
    near, nothing = local_field(priors, boxes, background, float(np.log(least)), neighbours, weight, rounds)
    best, _ = _enlarged(nothing, whole, small, size)
    winner = np.zeros(size, np.int64)
    for index, (chance, box) in enumerate(zip(near, boxes, strict=True), 1):
        large, place = _enlarged(chance, box, small, size)
        better = large > best[place]
        best[place][better] = large[better]
        winner[place][better] = index
    return winner


def _prior(share: Floats, width: float, least: float) -> Floats:
    from scipy.ndimage import uniform_filter

    blurred = uniform_filter(share, size=round(width), mode="nearest") if width >= 1.5 else share
    return np.asarray(np.log(np.clip(blurred, least, 1)), np.float32)


def _share(mask_HW: Masks, box: Box, small: tuple[int, int]) -> Floats:
    """How much of every pixel of a box of the smaller picture the mask covers, float32 (b)."""
    from PIL import Image

    scale = [whole / less for whole, less in zip(mask_HW.shape, small, strict=True)]
    first = [max(0, int((side.start - 2) * one)) for side, one in zip(box, scale, strict=True)]
    last = [int((side.stop + 2) * one) + 1 for side, one in zip(box, scale, strict=True)]
    part = Image.fromarray(mask_HW[first[0] : last[0], first[1] : last[1]].astype(np.float32))
    (top, bottom), (left, right) = (
        (side.start * one - begin, side.stop * one - begin) for side, one, begin in zip(box, scale, first, strict=True)
    )
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    return np.asarray(part.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom)), np.float32)


def _enlarged(values: Floats, box: Box, small: tuple[int, int], size: tuple[int, ...]) -> tuple[Floats, Box]:
    """What lies in a box of the smaller picture, bilinear, and where that is in the larger one."""
    taps, place = [], []
    for axis, side in enumerate(box):
        at = np.clip((np.arange(size[axis]) + 0.5) * (small[axis] / size[axis]) - 0.5, 0, small[axis] - 1)
        inside = np.flatnonzero((at >= side.start) & (at <= side.stop - 1))
        low = np.floor(at[inside]).astype(np.int64)
        share = (at[inside] - low).astype(np.float32)
        taps.append((low - side.start, np.minimum(low + 1, side.stop - 1) - side.start, share))
        place.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
    (low, high, share), across = taps[0], taps[1]
    rows = values[low] * (1 - share)[:, None] + values[high] * share[:, None]
    low, high, share = across
    return rows[:, low] * (1 - share) + rows[:, high] * share, (place[0], place[1])


def local_field(
    priors: list[Floats],
    boxes: list[Box],
    background_hw: Floats,
    least: float,
    neighbours: Neighbours,
    weight: float,
    rounds: int,
) -> tuple[list[Floats], Floats]:
    """The chance of every label within its box, and of the background everywhere.

    Args:
        priors: log of every label's share within its box, K of (b, b).
        background_hw: the background's, (h, w).
        least: the log of a share outside of a label's box.
    """
    shape, whole = background_hw.shape, (slice(0, background_hw.shape[0]), slice(0, background_hw.shape[1]))
    far = np.full(shape, len(boxes), np.float32)  # labels that are far from each pixel
    for box in boxes:
        far[box] -= 1
    field = [np.full(shape, least, np.float32), background_hw]
    scores, own = field, priors
    for turn in range(rounds + 1):
        powers, mine = [np.exp(score) for score in scores], [np.exp(score) for score in own]
        total = far * powers[0] + powers[1]
        for box, power in zip(boxes, mine, strict=True):
            total[box] += power
        chances, near = [power / total for power in powers], [p / total[b] for b, p in zip(boxes, mine, strict=True)]
        if turn == rounds:
            break
        around = [np.pad(chance, neighbours.reach) for chance in chances]
        scores = [
            score + np.float32(weight) * neighbours.heard(field_, whole)
            for score, field_ in zip(field, around, strict=True)
        ]
        own = [
            prior + np.float32(weight) * neighbours.heard(_inserted(around[0], box, chance, neighbours.reach), box)
            for prior, box, chance in zip(priors, boxes, near, strict=True)
        ]
    return near, chances[1]


def _inserted(padded: Floats, box: Box, chance: Floats, reach: int) -> Floats:
    """A label's chance in its box, the far labels' around it."""
    rows, columns = box
    around = padded[rows.start : rows.stop + 2 * reach, columns.start : columns.stop + 2 * reach].copy()
    around[reach : reach + chance.shape[0], reach : reach + chance.shape[1]] = chance
    return around
