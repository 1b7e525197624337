"""What is left becomes a concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core import AttentionMaps, Concepts, Picture

WORD = "background"


class BackgroundRefiner:
    """Adds what no concept covers as a concept of its own: to learn the background, too; put it last."""

    name = "background"

    class Settings(BaseSettings):
        smallest: float = Field(
            0.05, ge=0, le=1, description="least share of the picture that must be left to make a concept"
        )

    @hookimpl
    def uce_refine_masks(
        self, concepts: Concepts, attention: AttentionMaps, image: Picture | None, settings: Settings
    ) -> Concepts:
        """Append one concept of all cells, and of all pixels where the others have pixel masks, that are in no mask.

        Args:
            concepts: masks bool (K, h, w); pixel_masks where a refiner before (`edges`) or the clusterer made some.
            attention: affinity (N, N) and saliency (h, w), for the new concept's map and score.
            image: the picture; padding around it is no background. None: bare maps, all cells count.

        Returns:
            K + 1 concepts, the background last, called "background" where concepts have words; the same K where less
            than `smallest` is left.
        """
        import torch

        from uce.core import Concepts
        from uce.core.localisation import mean_maps, saliency_scores

        shown = torch.ones(concepts.grid, dtype=torch.bool) if image is None else image.valid(concepts.grid)
        left = shown & ~concepts.masks.cpu().any(dim=0)
        share, pixels = float(left.sum()) / float(shown.sum()), None
        if concepts.pixel_masks is not None:
            pixels = _left_pixels(concepts.pixel_masks.cpu(), image)
            share = float(pixels.sum()) / pixels.numel()
        if not left.any() or share <= 0 or share < settings.smallest:
            return concepts
        labels = torch.where(left, 0, -1).flatten()
        return Concepts(
            masks=torch.cat([concepts.masks.cpu(), left[None]]),
            maps=torch.cat([concepts.maps.cpu().float(), mean_maps(attention.affinity, labels, 1)]),
            scores=torch.cat([concepts.scores.cpu().float(), saliency_scores(left[None], attention.saliency)]),
            pixel_masks=None if pixels is None else torch.cat([concepts.pixel_masks.cpu(), pixels[None]]),  # type: ignore[union-attr]
            labels=None if concepts.labels is None else [*concepts.labels, WORD],
            merge_threshold=concepts.merge_threshold,
        )


def _left_pixels(pixel_masks_KHW: Tensor, image: Picture | None) -> Tensor:
    """bool (H, W): pixels that the model saw and no mask holds."""
    import torch

    seen = torch.ones(pixel_masks_KHW.shape[1:], dtype=torch.bool)
    if image is not None:
        top, left, height, width = image.box
        seen[:] = False
        seen[top : top + height, left : left + width] = True
    return seen & ~pixel_masks_KHW.any(dim=0)
