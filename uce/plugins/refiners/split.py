"""Separates what does not touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Concepts


class SplitRefiner:
    """Parts that do not touch become concepts of their own: for several things of one kind."""

    name = "split"

    class Settings(BaseSettings):
        smallest: float = Field(
            0.2, ge=0, le=1, description="a part smaller than this share of the concept's largest one stays with it"
        )

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, attention: AttentionMaps, settings: Settings) -> Concepts:
        """Make every large 4-connected part of a mask a concept; its small parts stay with the largest one.

        Args:
            concepts: masks bool (K, h, w).
            attention: affinity (N, N), saliency (h, w), for the maps and scores of the parts.

        Returns:
            At least as many concepts, parts in raster order; concepts in one piece keep their map. Pixel masks are
            dropped where any concept was split: put `edges` after this refiner.
        """
        import numpy as np

        from uce.core.localisation import components, with_masks

        masks, owners = [], []
        for index, mask in enumerate(concepts.masks.cpu().numpy()):
            parts, _ = components(mask)
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            large = [int(part) for part in np.flatnonzero((sizes > 0) & (sizes >= settings.smallest * sizes.max()))]
            if len(large) < 2:
                pieces = [mask]
            else:
                largest = int(sizes.argmax())
                small = mask & ~np.isin(parts, large)
                pieces = [(parts == part) | (small if part == largest else False) for part in large]
            masks.extend(pieces)
            owners.extend([index] * len(pieces))
        return with_masks(concepts, np.array(masks, bool).reshape(-1, *concepts.grid), owners, attention)
