"""From grid cells to pixels, by the picture's own edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from uce.core import Concepts, Picture
    from uce.plugins.refiners._local_field import Neighbours

FLAT = 1e-3
ROUNDS = 10
WEIGHT = 6.0
LARGE = 1 << 24  # pixels above which the picture is worked on in bands
NEAR = 0.2  # loudness of the eight neighbours, without which pixels of the lattice would agree among themselves alone
MANY = 16  # more masks than these are followed within boxes of their own
SURE = 1e-3  # log(1 / SURE) > WEIGHT: what lies deep inside a mask is never voted out


class EdgesRefiner:
    """Pixel-accurate masks: moves outlines to the picture's own edges (mean field of a local CRF); put it last."""

    name = "edges"

    class Settings(BaseSettings):
        band: float = Field(
            1.0, gt=0, le=4, description="width, in grid cells, of the zone around an outline in which it may move"
        )
        colour: float = Field(
            8.0, gt=0, le=100, description="difference of colour (CIELAB) that makes an edge; lower: fainter ones"
        )
        background: float = Field(
            8.0, ge=0, le=50, description="how much it counts whether a pixel looks like the background near it; 0: not"
        )
        side: int = Field(256, ge=32, le=1024, description="longer side in pixels at which outlines are found")

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, image: Picture | None, settings: Settings) -> Concepts:
        """Let every pixel near an outline join the concept, or the background, that pixels of like colour around it are
        of; and the background the sooner, the more it looks like it (`background`).

        Args:
            concepts: masks bool (K, h, w); pixel_masks are the start where there are some.
            image: the picture; None (bare maps) changes nothing.

        Returns:
            The same concepts with pixel_masks bool (K, H, W) at the original's size; the grid's masks stay.

        Source: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
        NIPS 2011: mean field of a Potts model with a bilateral kernel, here over pixels up to `band` cells apart. What
        else was measured: docs/stages/refinement.md, benchmarks/edges.py.
        """
        from dataclasses import replace

        import torch

        if image is None or len(concepts) == 0:
            return concepts
        top, left, height, width = image.box
        shown = (slice(top, top + height), slice(left, left + width))
        masks = image.masks_of(concepts).cpu().numpy()
        masks = masks if concepts.pixel_masks is None else masks.copy()
        cell = max(
            (image.side / concepts.grid[axis]) * (image.box[axis + 2] / image.window[axis + 2]) for axis in (0, 1)
        )
        likeness = _likeness(concepts, image, settings.side) if settings.background > 0 else None
        masks[:, *shown] = _at_edges(image.original[shown], masks[:, *shown], likeness, cell, settings)
        return replace(concepts, pixel_masks=torch.from_numpy(masks))


def _likeness(concepts: Concepts, image: Picture, side: int) -> npt.NDArray[np.float32]:
    """How much what is shown looks like background near it, in [0, 1], about `side` pixels a side."""
    import numpy as np

    from uce.core.localisation import background_likeness, colours

    foreground = concepts.masks.any(dim=0).cpu().numpy()
    seen = colours(image, concepts.grid, max(1, round(side / max(concepts.grid))))
    likeness = background_likeness(seen, foreground).astype(np.float32)
    (top, left, height, width), scale = image.window, np.array(likeness.shape) / image.side
    rows = slice(round(top * scale[0]), max(round(top * scale[0]) + 1, round((top + height) * scale[0])))
    columns = slice(round(left * scale[1]), max(round(left * scale[1]) + 1, round((left + width) * scale[1])))
    return np.asarray(likeness[rows, columns])


def _at_edges(
    picture_HW3: npt.NDArray[np.uint8],
    masks_KHW: npt.NDArray[np.bool_],
    likeness_hw: npt.NDArray[np.float32] | None,
    cell: float,
    settings: EdgesRefiner.Settings,
) -> npt.NDArray[np.bool_]:
    """Masks at the picture's edges, bool (K, H, W), disjoint; a mask that would vanish stays as it was."""
    import numpy as np
    from PIL import Image
    from scipy.ndimage import uniform_filter
    from skimage.color import rgb2lab

    size = picture_HW3.shape[:2]
    scale = min(1.0, settings.side / max(size))
    small = (max(2, round(size[0] * scale)), max(2, round(size[1] * scale)))
    picture = np.asarray(Image.fromarray(picture_HW3).resize(small[::-1], Image.Resampling.BOX))
    colours = rgb2lab(picture).astype(np.float32)
    if float(colours.std()) < FLAT:
        return masks_KHW
    width = settings.band * cell * scale
    neighbours = _neighbours(colours, max(1, round(width)), settings.colour)
    vote = None
    if likeness_hw is not None:
        vote = settings.background * (_resized(likeness_hw, small) - np.float32(0.5))
    if len(masks_KHW) > MANY:
        from uce.plugins.refiners._local_field import strongest

        winner = strongest(masks_KHW, vote, neighbours, width, SURE, WEIGHT, ROUNDS)
        found = winner[None] == np.arange(1, len(masks_KHW) + 1)[:, None, None]
    else:
        labels = np.concatenate([~masks_KHW.any(axis=0, keepdims=True), masks_KHW])
        step = max(1, round((size[0] * size[1] / LARGE) ** 0.5))  # of large masks, every so many pixels tell enough
        shares = np.stack([_resized(label[::step, ::step].astype(np.float32), small) for label in labels])
        if width >= 1.5:
            shares = uniform_filter(shares, size=(0, round(width), round(width)), mode="nearest")
        prior = np.log(np.clip(shares, SURE, 1))
        if vote is not None:
            prior[0] += vote
        found = _winners(_mean_field(prior, neighbours), size)
    for index, mask in enumerate(found):
        if not mask.any():
            found[index] = masks_KHW[index]
            found[np.arange(len(found)) != index] &= ~masks_KHW[index]
    return np.asarray(found, np.bool_)


def _neighbours(colours_hw3: npt.NDArray[np.float32], reach: int, colour: float) -> Neighbours:
    """A pixel hears its neighbours and a lattice of about 7 x 7 pixels up to `reach` away; the more alike and the
    nearer, the louder."""
    from itertools import product

    import numpy as np

    from uce.plugins.refiners._local_field import Neighbours

    height, width = colours_hw3.shape[:2]
    step = max(1, reach // 3)
    far, near = [step * k for k in range(-(reach // step), reach // step + 1)], range(-1, 2)
    moves = dict.fromkeys(product(near, near), NEAR) | dict.fromkeys(product(far, far), 1.0)
    del moves[0, 0]
    padded = np.pad(colours_hw3, ((reach, reach), (reach, reach), (0, 0)), constant_values=np.float32(1e6))
    voices = []
    for (y, x), loudness in moves.items():
        other = padded[reach + y : reach + y + height, reach + x : reach + x + width]
        apart = ((colours_hw3 - other) ** 2).sum(axis=2) / (2 * colour**2)
        voices.append(np.float32(loudness) * np.exp(-apart - (y * y + x * x) / (2 * (reach / 1.5) ** 2)))
    return Neighbours(list(moves), voices, np.sum(voices, axis=0) + np.float32(1e-6), reach)


def _mean_field(prior_Lhw: npt.NDArray[np.float32], neighbours: Neighbours) -> npt.NDArray[np.float32]:
    """The chance of every label at every pixel, (L, h, w), after pixels have drawn each other to their labels."""
    import numpy as np

    (height, width), reach = prior_Lhw.shape[1:], neighbours.reach
    chances = _softmax(prior_Lhw)
    for _ in range(ROUNDS):
        around = np.pad(chances, ((0, 0), (reach, reach), (reach, reach)))
        heard = np.zeros_like(chances)
        for (y, x), voice in zip(neighbours.moves, neighbours.voices, strict=True):
            heard += voice * around[:, reach + y : reach + y + height, reach + x : reach + x + width]
        chances = _softmax(prior_Lhw + np.float32(WEIGHT) * heard / neighbours.total)
    return chances


def _winners(chances_Lhw: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where each label but the first is the likeliest, bool (L - 1, H, W); of large pictures a band at a time."""
    import numpy as np
    from PIL import Image

    if size[0] * size[1] <= LARGE:
        winner = _argmax([_resized(chance, size) for chance in chances_Lhw])
        return np.asarray(winner[None] == np.arange(1, len(chances_Lhw))[:, None, None])
    found = np.zeros((len(chances_Lhw) - 1, *size), bool)
    height, width = chances_Lhw.shape[1:]
    step = max(1, LARGE // (size[1] * len(chances_Lhw)))
    for start in range(0, size[0], step):
        stop = min(start + step, size[0])
        box = (0, start * height / size[0], width, stop * height / size[0])
        grown = [
            np.asarray(Image.fromarray(chance).resize((size[1], stop - start), Image.Resampling.BILINEAR, box=box))
            for chance in chances_Lhw
        ]
        winner = _argmax(grown)
        for index, mask in enumerate(found):
            mask[start:stop] = winner == index + 1
    return found


def _argmax(values_LHW: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.int16]:
    """As numpy's over the first axis, the first of equal ones, in a third of its time."""
    import numpy as np

    winner, best = np.zeros(values_LHW[0].shape, np.int16), values_LHW[0]
    for index, value in enumerate(values_LHW[1:], start=1):
        winner[value > best] = index
        best = np.maximum(best, value)
    return winner


def _softmax(scores_Lhw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import numpy as np

    powers = np.exp(scores_Lhw - scores_Lhw.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), np.float32)


def _resized(values: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A float map at another (H, W): averaged when it shrinks, bilinear when it grows."""
    import numpy as np
    from PIL import Image

    if values.shape == tuple(size):
        return values
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))
