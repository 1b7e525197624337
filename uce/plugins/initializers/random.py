"""The simplest initializer: one random start per concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.core.hookspecs import hookimpl
from uce.core.settings import Settings as BaseSettings

if TYPE_CHECKING:
    from uce.core.backbone import Backbone
    from uce.core.context import Context
    from uce.core.data import Concepts, TokenPlan


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
        from uce.core.data import TokenPlan
        from uce.core.random_rows import concept_tokens, random_starts

        starts = random_starts(backbone, len(concepts), 1, context)
        return TokenPlan(tokens=concept_tokens(len(concepts)), starts=starts)
