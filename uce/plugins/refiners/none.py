"""The refiner that changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Concepts


class NoRefiner:
    """Keeps every cluster as a concept: to see what the clusterer found, or where everything counts."""

    name = "none"

    class Settings(BaseSettings):
        pass

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts) -> Concepts:
        """Give back the concepts as they came."""
        return concepts
