"""The foreground step that changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import AttentionMaps


class NoForeground:
    """Shows clusterers all cells as the extractor read them: as the paper does, or for whole scenes."""

    name = "none"

    class Settings(BaseSettings):
        pass

    @hookimpl
    def uce_find_foreground(self, attention: AttentionMaps) -> AttentionMaps:
        """Give back the maps as they came."""
        return attention
