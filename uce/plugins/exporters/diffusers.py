"""Tokens for diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import StoredRun, TokenExport

LORA_NAME = "pytorch_lora_weights.safetensors"
UNET_NAME = "unet_tensors.safetensors"


class DiffusersExporter:
    """diffusers: one file per token for `load_textual_inversion`, and the LoRA for `load_lora_weights`."""

    name = "diffusers"

    class Settings(BaseSettings):
        weights: bool = Field(True, description="also write trained weights, where the run has any")

    @hookimpl
    def uce_export(self, run: StoredRun, tokens: Sequence[TokenExport], out: Path, settings: Settings) -> str:
        """NAME.safetensors with the token as its only key; where text encoders have names, these: `clip_l`, `clip_g`,
        `t5`."""
        from uce.core.files import write_safetensors
        from uce.core.runs import token_file

        for token in tokens:
            tensors = token_file(token.token, token.vectors)
            write_safetensors(out / f"{token.stem}.safetensors", tensors, token.header)
        lines = [_how(run, tokens[0])]
        if settings.weights:
            lines += _write_weights(run, tokens[0], out)
        return "\n".join(lines)


def _how(run: StoredRun, token: TokenExport) -> str:
    from uce.plugins.exporters._printed import loading_lines

    file = f"{token.stem}.safetensors"
    if not token.named_encoders:
        return f'pipe.load_textual_inversion("{file}", token="{token.token}")'
    return "\n".join(loading_lines(run, token, f'"{file}"'))


def _write_weights(run: StoredRun, token: TokenExport, out: Path) -> list[str]:
    """LoRA matrices in one file and tensors that replace the model's own in another; lines that load them."""
    from uce.core.files import write_safetensors
    from uce.core.model import PREFIX, TRANSFORMER_PREFIX, is_lora_name

    weights = run.weights or {}
    lora = {name: value for name, value in weights.items() if is_lora_name(name)}
    others = {
        name.removeprefix(PREFIX).removeprefix(TRANSFORMER_PREFIX): value
        for name, value in weights.items()
        if name not in lora
    }
    part = "transformer" if any(name.startswith(TRANSFORMER_PREFIX) for name in weights) else "unet"
    lines = []
    if lora:
        write_safetensors(out / LORA_NAME, lora, token.header)
        lines.append(f'pipe.load_lora_weights(".", weight_name="{LORA_NAME}")')
    if others:
        write_safetensors(out / UNET_NAME, others, token.header)
        lines.append(f'pipe.{part}.load_state_dict(safetensors.torch.load_file("{UNET_NAME}"), strict=False)')
    return lines
