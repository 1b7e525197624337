"""Start from words that already explain the concept.

Every candidate word is put into the prompt once per noise level, and the denoising error inside each concept's mask is
noted. The masks are disjoint, so one pass scores a word for all concepts; no gradient is needed, which makes a pass
three times cheaper than one of training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, Picture, TokenPlan


class WordSearchInitializer:
    """Starts every concept from the words that denoise it best: closer than random words, for few training steps."""

    name = "word-search"

    class Settings(BaseSettings):
        """How widely to search."""

        split_tokens: int = Field(1, ge=1, le=64, description="best words per concept to start from; 1: no splitting")
        vectors: int = Field(
            1,
            ge=1,
            le=16,
            description="vectors per concept, which stand in a row in its place: the best words, one after the other",
        )
        candidates: int = Field(128, ge=1, le=65_536, description="random vocabulary words to try")
        noise_levels: int = Field(3, ge=1, le=64, description="noise levels at which each word is tried")
        template: str = Field("a photo of {}", description="the prompt; {} stands for the word")

        @field_validator("template")
        @classmethod
        def _one_place(cls, value: str) -> str:
            from uce.core.training import require_one_place

            return require_one_place(value)

    @hookimpl
    def uce_initialize_tokens(
        self, concepts: Concepts, backbone: Backbone, image: Picture, settings: Settings, context: Context
    ) -> TokenPlan:
        """Rank random vocabulary rows by masked denoising error and take the best.

        Returns:
            starts float32 (K, S, d), or (K, S, n, d) for n vectors, per text encoder, for tokens
            "<asset0>", "<asset1>", ...
        """
        from uce.core import TokenPlan
        from uce.core.training import concept_tokens, masked_errors, random_starts, ranked_starts

        num = max(settings.candidates, settings.split_tokens * settings.vectors)
        words = {name: rows[0] for name, rows in random_starts(backbone, 1, num, context).items()}
        errors_KV = masked_errors(
            backbone, image.pixels, concepts.masks, words, settings.noise_levels, settings.template, context
        )
        order_KV = errors_KV.argsort(dim=1, stable=True).cpu()
        starts = ranked_starts(words, order_KV, settings.split_tokens, settings.vectors)
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts)
