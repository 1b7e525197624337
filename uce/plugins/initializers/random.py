"""The simplest initializer: one random start per concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, TokenPlan


class RandomInitializer:
    """Starts every concept from one random word, without splitting: fewer updates, and more depends on luck."""

    name = "random"

    class Settings(BaseSettings):
        """Nothing to set."""

    @hookimpl
    def uce_initialize_tokens(self, concepts: Concepts, backbone: Backbone, context: Context) -> TokenPlan:
        """Draw one vocabulary row per concept.

        Returns:
            starts float32 (K, 1, d) per text encoder, for tokens "<asset0>", "<asset1>", ...
        """
        from uce.core import TokenPlan
        from uce.core.training import concept_tokens, random_starts

        starts = random_starts(backbone, len(concepts), 1, context)
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts)
