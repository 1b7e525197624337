"""The paper's initializer: several random starts per concept, trained apart and then averaged.

Source: Hao et al., ECCV 2024 (ConceptExpress), section 4.2, split-and-merge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, TokenPlan


class SplitMergeInitializer:
    """Starts every concept from several random words that are merged later (the paper's method): less luck involved."""

    name = "split-merge"

    class Settings(BaseSettings):
        """How many starts."""

        split_tokens: int = Field(5, ge=1, le=64, description="random starts per concept; 1 means no splitting")
        vectors: int = Field(
            1, ge=1, le=16, description="vectors per concept, which stand in a row in its place: each a random word"
        )

    @hookimpl
    def uce_initialize_tokens(
        self, concepts: Concepts, backbone: Backbone, settings: Settings, context: Context
    ) -> TokenPlan:
        """Draw distinct vocabulary rows; when they are merged is the optimizer's setting.

        Returns:
            starts float32 (K, S, d), or (K, S, n, d) for n vectors, per text encoder, for tokens
            "<asset0>", "<asset1>", ...
        """
        from uce.core import TokenPlan
        from uce.core.training import concept_tokens, random_starts

        starts = random_starts(backbone, len(concepts), settings.split_tokens, context, settings.vectors)
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts)
