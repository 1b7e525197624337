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

POOL = (
    "# published configurations say 2, which pools at the highest id: that of the new word\n"
    "pipe.text_encoder_2.config.eos_token_id = pipe.tokenizer_2.eos_token_id\n"
    "pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id"
)
"""Without it, SDXL's pooled text is that of the token instead of the whole prompt's."""
LORA_NAME = "pytorch_lora_weights.safetensors"
UNET_NAME = "unet_tensors.safetensors"


class DiffusersExporter:
    """diffusers: one file per token for `load_textual_inversion`, and the LoRA for `load_lora_weights`."""

    name = "diffusers"

    class Settings(BaseSettings):
        weights: bool = Field(True, description="also write trained weights, where the run has any")

    @hookimpl
    def uce_export(self, run: StoredRun, tokens: Sequence[TokenExport], out: Path, settings: Settings) -> str:
        """NAME.safetensors with the token as its only key; for two text encoders `clip_l` and `clip_g`."""
        from uce.core.files import write_safetensors
        from uce.core.runs import token_file

        for token in tokens:
            tensors = token_file(token.token, token.vectors)
            write_safetensors(out / f"{token.stem}.safetensors", tensors, token.header)
        lines = [_how(tokens[0])]
        if settings.weights:
            lines += _write_weights(run, tokens[0], out)
        return "\n".join(lines)


def _how(token: TokenExport) -> str:
    file = f"{token.stem}.safetensors"
    if not token.two_encoders:
        return f'pipe.load_textual_inversion("{file}", token="{token.token}")'
    load = 'pipe.load_textual_inversion(vectors["clip_{}"], token="{}", text_encoder=pipe.{}, tokenizer=pipe.{})'
    return "\n".join(
        [
            POOL,
            f'vectors = safetensors.torch.load_file("{file}")',
            load.format("l", token.token, "text_encoder", "tokenizer"),
            load.format("g", token.token, "text_encoder_2", "tokenizer_2"),
        ]
    )


def _write_weights(run: StoredRun, token: TokenExport, out: Path) -> list[str]:
    """LoRA matrices in one file and tensors that replace the UNet's own in another; lines that load them."""
    from uce.core.files import write_safetensors
    from uce.core.model import LORA_DOWN, LORA_UP, PREFIX

    weights = run.weights or {}
    lora = {name: value for name, value in weights.items() if name.endswith((LORA_DOWN, LORA_UP))}
    others = {name.removeprefix(PREFIX): value for name, value in weights.items() if name not in lora}
    lines = []
    if lora:
        write_safetensors(out / LORA_NAME, lora, token.header)
        lines.append(f'pipe.load_lora_weights(".", weight_name="{LORA_NAME}")')
    if others:
        write_safetensors(out / UNET_NAME, others, token.header)
        lines.append(f'pipe.unet.load_state_dict(safetensors.torch.load_file("{UNET_NAME}"), strict=False)')
    return lines
