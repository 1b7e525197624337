"""The simplest initializer: one random start per concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, TokenPlan


class RandomInitializer:
    """Starts every concept from one random word, without splitting: fewer updates, and more depends on luck."""

    name = "random"

    class Settings(BaseSettings):
        """How many vectors."""

        vectors: int = Field(
            1, ge=1, le=16, description="vectors per concept, which stand in a row in its place: each a random word"
        )

    @hookimpl
    def uce_initialize_tokens(
        self, concepts: Concepts, backbone: Backbone, settings: Settings, context: Context
    ) -> TokenPlan:
        """Draw one vocabulary row per concept, or as many as it has vectors.

        Returns:
            starts float32 (K, 1, d), or (K, 1, n, d) for n vectors, per text encoder, for tokens
            "<asset0>", "<asset1>", ...
        """
        from uce.core import TokenPlan
        from uce.core.training import concept_tokens, random_starts

        starts = random_starts(backbone, len(concepts), 1, context, settings.vectors)
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts)
