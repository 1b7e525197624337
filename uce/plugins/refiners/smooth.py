"""Tidies masks: holes are filled, specks dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Concepts


class SmoothRefiner:
    """Fills holes and drops specks: after `merge`, where masks look frayed."""

    name = "smooth"

    class Settings(BaseSettings):
        holes: float = Field(
            0.25, ge=0, le=1, description="fill holes up to this share of the concept's cells; 0 fills none"
        )
        specks: float = Field(
            0.1, ge=0, le=1, description="drop separate parts smaller than this share of the concept's largest part"
        )

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, attention: AttentionMaps, settings: Settings) -> Concepts:
        """Fill holes that belong to no other concept and drop specks (parts are 4-connected).

        Args:
            concepts: masks bool (K, h, w).
            attention: affinity (N, N), saliency (h, w), for the maps and scores of the changed masks.

        Returns:
            As many concepts; masks that did not change keep their map. Pixel masks are dropped where any mask changed:
            put `edges` after this refiner.
        """
        from uce.core.localisation import with_masks

        masks = concepts.masks.cpu().numpy().copy()
        for index in range(len(masks)):
            tidy = _without_specks(masks[index], settings.specks)
            others = masks.any(axis=0) & ~masks[index]
            masks[index] = _without_holes(tidy, others, settings.holes)
        return with_masks(concepts, masks, range(len(masks)), attention)


def _without_specks(mask: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_]:
    import numpy as np

    from uce.core.localisation import components

    parts, number = components(mask)
    if number < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = sizes >= share * sizes.max()
    kept[0] = False
    return np.asarray(kept[parts])


def _without_holes(mask: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_]:
    """Fill small enclosed areas, unless another concept lies in them."""
    import numpy as np

    from uce.core.localisation import components

    filled = mask.copy()
    limit = share * int(mask.sum())
    parts, number = components(~mask)
    border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    for part in range(1, number + 1):
        hole = parts == part
        if part not in border and hole.sum() <= limit and not (hole & others).any():
            filled |= hole
    return filled
