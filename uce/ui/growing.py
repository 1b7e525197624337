"""A click in the picture becomes a region: the cells around it whose affinity agrees with the clicked one's.

Legend: N cells of the grid, N = h * w; H, W the picture's pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from uce.core.errors import StageInputError
from uce.core.flow.data import AttentionMaps, Concepts
from uce.core.flow.picture import Picture
from uce.core.registry.manager import Manager
from uce.ui.things import Array

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 0.5
"""Of the picture: a region beyond it is the background."""
BAND = 2.0
"""Cells around an outline in which it may move to the picture's own edges, as in the preset `default`."""


class Grower:
    """The affinity of one localised picture.

    Args:
        attention: affinity (N, N), rows sum to 1.
        picture: the picture, and where the grid lies over it.
        manager: where the refiner `edges` is found, which puts outlines at the picture's edges.
    """

    def __init__(self, attention: AttentionMaps, picture: Picture, manager: Manager) -> None:
        self.attention, self.picture, self.manager = attention, picture, manager
        self._roots_NN = attention.affinity.float().cpu().clamp_min(0).sqrt()

    @classmethod
    def of(cls, folder: Path, manager: Manager) -> Grower:
        """The affinity that a localised run folder keeps.

        Raises:
            StageInputError: it keeps none.
        """
        from uce.core.config.resolving import load_config_file
        from uce.core.files.pictures import load_rgb
        from uce.core.work.cache import StageCache

        kept = StageCache(folder / "stages").find("extractor")
        if kept is None or not isinstance(kept[1], AttentionMaps):
            raise StageInputError(
                "what the model saw in this picture was not kept; press Find the things again, or use the brush"
            )
        fit = load_config_file(folder / "config.yaml")["run"]["fit"]
        side = 1024  # of the square in which the grid lies: the geometry is the same at every size
        return cls(kept[1], Picture(torch.empty(3, side, side), load_rgb(folder / "input.png"), fit), manager)

    def region(self, x: int, y: int, within: Array | None = None) -> Array:
        """Pixels around the one in column `x` and row `y` that belong to it, bool (H, W).

        Likeness of two cells is the Bhattacharyya coefficient of their affinity rows; where it ends is Otsu's threshold
        over all cells, or over those of `within`.

        Args:
            within: bool (H, W); look in it alone.

        Raises:
            StageInputError: the model did not see that place, or what belongs to it is most of the picture.
        """
        from skimage.filters import threshold_otsu
        from skimage.measure import label

        seed = self._cell(x, y)
        grid = self.attention.grid
        likeness = (self._roots_NN @ self._roots_NN[seed]).reshape(grid).numpy()
        allowed = np.ones(grid, bool) if within is None else self._cells(within)
        allowed[divmod(seed, grid[1])] = True
        if np.ptp(likeness[allowed]) > 1e-6:
            allowed &= likeness >= threshold_otsu(likeness[allowed])
        pieces = label(allowed, connectivity=1)
        cells = pieces == pieces[divmod(seed, grid[1])]
        if within is None and cells.mean() > LARGEST:
            raise StageInputError(
                f"{cells.mean():.0%} of the picture belongs to that place: it is the background; click on a thing, or "
                "use the brush"
            )
        pixels = self._pixels(cells, likeness)
        return pixels if within is None else pixels & within

    def _cell(self, x: int, y: int) -> int:
        """Number of the cell that shows a pixel."""
        dot = torch.zeros(1, *self.picture.size, dtype=torch.bool)
        dot[0, y, x] = True
        cells = self.picture.to_grid(dot, self.attention.grid)[0]
        if not cells.any():
            raise StageInputError("the model did not see that place; use the brush")
        return int(cells.flatten().int().argmax())

    def _cells(self, mask: Array) -> Array:
        return self.picture.to_grid(torch.from_numpy(mask)[None], self.attention.grid)[0].numpy()

    def _pixels(self, cells_hw: Array, likeness_hw: Array) -> Array:
        """The cells as pixels, with the outline at the picture's own edges."""
        mask = torch.from_numpy(cells_hw)[None]
        share = torch.from_numpy(likeness_hw).flatten()[None].clamp_min(0)
        concepts = Concepts(mask, share / share.sum(), torch.ones(1))
        info = self.manager.get("refiner", "edges")
        settings = info.settings_class.model_validate({"band": BAND})
        refined = info.obj.uce_refine_masks(concepts=concepts, image=self.picture, settings=settings)
        pixels = self.picture.masks_of(replace(concepts, pixel_masks=refined.pixel_masks))
        return np.asarray(pixels[0])
