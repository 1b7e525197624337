"""Tokens for ComfyUI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import StoredRun, TokenExport


class ComfyUIExporter:
    """ComfyUI: `models/embeddings/NAME.safetensors`, written `embedding:NAME` in prompts."""

    name = "comfyui"

    class Settings(BaseSettings):
        weights: bool = Field(True, description="also write a trained LoRA, where the run has one")

    @hookimpl
    def uce_export(self, run: StoredRun, tokens: Sequence[TokenExport], out: Path, settings: Settings) -> str:
        """Folders as ComfyUI has them, so that `out` may be ComfyUI's own folder."""
        from uce.plugins.exporters._webui import write_embeddings, write_lora

        write_embeddings(tokens, out / "models" / "embeddings")
        words = " and ".join(f"embedding:{token.stem}" for token in tokens)
        lora = write_lora(run, tokens, out / "models" / "loras", "ComfyUI") if settings.weights else None
        added = "" if lora is None else f", with {lora.name} in a LoraLoader node"
        return f"copy the folder models into ComfyUI's own; then write: a photo of {words}{added}"
