"""The paper's filter: keep what the empty prompt looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Concepts

FLAT = 1e-6


class SaliencyRefiner:
    """Drops background: keeps concepts more salient than the picture on average (the paper's filter)."""

    name = "saliency"

    class Settings(BaseSettings):
        threshold: float = Field(
            1.0, ge=0, description="keep concepts whose mean saliency exceeds this many times the picture's"
        )

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, attention: AttentionMaps, settings: Settings) -> Concepts:
        """Keep concepts whose score exceeds the threshold, in their order, with the score as measured here.

        Args:
            concepts: masks bool (K, h, w).
            attention: saliency (h, w) in [0, 1].

        Raises:
            NothingFoundError: the saliency is the same everywhere, or no concept exceeds the threshold.

        Source: ConceptExpress (Hao et al., ECCV 2024), section 4.1.
        """
        from dataclasses import replace

        from uce.core import NothingFoundError
        from uce.core.localisation import saliency_scores

        spread = float(attention.saliency.max() - attention.saliency.min())
        if spread <= FLAT:
            raise NothingFoundError(
                f"the saliency is the same everywhere (it varies by {spread:.1g}), so no concept stands out; choose "
                "--refiner merge or --refiner none to keep every cluster"
            )
        scores = saliency_scores(concepts.masks, attention.saliency)
        kept = [index for index, score in enumerate(scores.tolist()) if score > settings.threshold]
        if not kept:
            best = f"the best of {len(scores)} scores {float(scores.max()):.2f}" if len(scores) else "there were none"
            raise NothingFoundError(
                f"nothing in the picture is salient: no concept scores over {settings.threshold:g}, {best}; lower "
                "refiner.saliency.threshold, or choose --refiner merge or --refiner none"
            )
        return replace(concepts, scores=scores).select(kept)
