"""From grid cells to pixels, by the picture's own edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core.hookspecs import hookimpl
from uce.core.settings import Settings as BaseSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core.data import Concepts
    from uce.core.picture import Picture

DEEPEST = 0.6
TOLERANCE = 1e-3


class EdgesRefiner:
    """Pixel-accurate masks: moves outlines to the picture's own edges (random walker); put it last."""

    name = "edges"

    class Settings(BaseSettings):
        band: float = Field(1.0, gt=0, le=4, description="how far, in grid cells, an outline may move to either side")
        contrast: float = Field(500.0, gt=0, description="how strongly outlines keep to edges of colour")
        side: int = Field(256, ge=32, le=2048, description="longer side in pixels at which outlines are found")

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, image: Picture | None, settings: Settings) -> Concepts:
        """Let every pixel near an outline join the concept, or the background, that a random walk over pixels of like
        colour reaches first.

        Args:
            concepts: masks bool (K, h, w); pixel_masks are the start where there are some.
            image: the picture; None (bare maps) changes nothing.

        Returns:
            The same concepts with pixel_masks bool (K, H, W) at the original's size; the grid's masks stay.

        Source: Grady, "Random walks for image segmentation", PAMI 2006 (scikit-image's implementation).
        """
        from dataclasses import replace

        import torch

        if image is None or len(concepts) == 0:
            return concepts
        start = concepts.pixel_masks if concepts.pixel_masks is not None else image.to_original(concepts.masks)
        top, left, height, width = image.box
        shown = (slice(top, top + height), slice(left, left + width))
        masks = start.cpu().numpy().copy()
        cell = max(
            (image.side / concepts.grid[axis]) * (image.box[axis + 2] / image.window[axis + 2]) for axis in (0, 1)
        )
        masks[:, *shown] = _walk(image.original[shown], masks[:, *shown], cell, settings)
        return replace(concepts, pixel_masks=torch.from_numpy(masks))


def _walk(
    picture_HW3: npt.NDArray[np.uint8], masks_KHW: npt.NDArray[np.bool_], cell: float, settings: EdgesRefiner.Settings
) -> npt.NDArray[np.bool_]:
    """Masks at the picture's edges, bool (K, H, W), disjoint; a mask that would vanish stays as it was."""
    import numpy as np
    from PIL import Image
    from skimage.color import rgb2lab

    size = picture_HW3.shape[:2]
    scale = min(1.0, settings.side / max(size))
    small = (max(2, round(size[0] * scale)), max(2, round(size[1] * scale)))
    picture = np.asarray(Image.fromarray(picture_HW3).resize(small[::-1], Image.Resampling.BOX))
    masks = np.stack([_resized(mask.astype(np.float32), small) > 0.5 for mask in masks_KHW])
    seeds = _seeds(masks, cell * scale * settings.band)
    colours = rgb2lab(picture)
    spread = float(colours.std())
    if spread < TOLERANCE or len(np.unique(seeds[seeds > 0])) < 2 or (seeds > 0).all():
        return masks_KHW
    winner = _strongest(_chances(colours / spread, seeds, settings.contrast), size)
    found = winner[None] == np.arange(2, len(masks) + 2)[:, None, None]
    for index, mask in enumerate(found):
        if not mask.any():
            found[index] = masks_KHW[index]
            found[np.arange(len(found)) != index] &= ~masks_KHW[index]
    return np.asarray(found, np.bool_)


def _seeds(masks: npt.NDArray[np.bool_], band: float) -> npt.NDArray[np.int64]:
    """Label of pixels that are surely the background's (1) or a mask's (2, 3, ...), 0 near outlines.

    Sure is what lies deeper than `band` pixels; of things too thin for that, their deepest part. The picture's border
    is no outline.
    """
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    seeds = np.zeros(masks.shape[1:], np.int64)
    for label, mask in enumerate([~masks.any(axis=0), *masks], start=1):
        if mask.all():
            seeds[:] = label
        elif mask.any():
            depth = distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
            seeds[mask & (depth > min(band, DEEPEST * float(depth.max())))] = label
    return seeds


def _chances(colours: npt.NDArray[Any], seeds: npt.NDArray[np.int64], contrast: float) -> dict[int, npt.NDArray[Any]]:
    """For every seed label, the probability that a walk from a pixel reaches it first, (h, w)."""
    import warnings

    import numpy as np
    from skimage.segmentation import random_walker

    labels = np.unique(seeds[seeds > 0])
    compact = np.searchsorted(labels, seeds) + 1
    compact[seeds == 0] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # skimage recommends an optional solver; results are the same
        chances = random_walker(
            colours, compact, beta=contrast, mode="cg_j", tol=TOLERANCE, channel_axis=-1, return_full_prob=True
        )
    return {int(label): chance for label, chance in zip(labels, chances, strict=True)}


def _strongest(chances: dict[int, npt.NDArray[Any]], size: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The label with the highest chance at every pixel of the enlarged map, (H, W)."""
    import numpy as np

    best = np.full(size, -np.inf, np.float32)
    winner = np.zeros(size, np.int64)
    for label, chance in chances.items():
        enlarged = _resized(np.asarray(chance, np.float32), size)
        closer = enlarged > best
        best[closer], winner[closer] = enlarged[closer], label
    return winner


def _resized(values: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A float map at another (H, W): averaged when it shrinks, bilinear when it grows."""
    import numpy as np
    from PIL import Image

    if values.shape == tuple(size):
        return values
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))
