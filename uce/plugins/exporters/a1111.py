"""Tokens for AUTOMATIC1111's web UI and its descendants (Forge, reForge, SD.Next)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import StoredRun, TokenExport


class A1111Exporter:
    """AUTOMATIC1111 and Forge: `embeddings/NAME.safetensors`, whose prompt word is NAME."""

    name = "a1111"

    class Settings(BaseSettings):
        weights: bool = Field(True, description="also write a trained LoRA, where the run has one")

    @hookimpl
    def uce_export(self, run: StoredRun, tokens: Sequence[TokenExport], out: Path, settings: Settings) -> str:
        """Folders as the web UI has them, so that `out` may be the web UI's own folder."""
        from uce.plugins.exporters._webui import fires, write_embeddings, write_lora

        write_embeddings(tokens, out / "embeddings")
        words = " and ".join(token.stem for token in tokens)
        lora = write_lora(run, tokens, out / "models" / "Lora", "AUTOMATIC1111") if settings.weights else None
        added = "" if lora is None else f" <lora:{lora.stem}:1>"
        return f"copy the folders into the web UI's own; then write: a photo of {words}{added}{fires(tokens)}"
