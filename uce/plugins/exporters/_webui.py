"""What AUTOMATIC1111, Forge and ComfyUI have in common: their folders differ, the files in them do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uce.core import RunFolderError

if TYPE_CHECKING:
    from uce.core import StoredRun, TokenExport

KEY = "emb_params"
NAMES = {"t5": "t5xxl"}
"""Keys that these programs have another word for. At an unknown key ComfyUI takes the file's first tensor, silently."""


def write_embeddings(tokens: Sequence[TokenExport], folder: Path) -> None:
    """One safetensors file per token, named as the word in prompts: `emb_params`, or `clip_l`, `clip_g` and `t5xxl`.

    Tensors are (n, d) also where n is 1: AUTOMATIC1111 takes the number of vectors from the first axis.
    """
    from uce.core.files import write_safetensors

    for token in tokens:
        first = next(iter(token.vectors.values()))
        named = {NAMES.get(encoder, encoder): value for encoder, value in token.vectors.items()}
        tensors = named if token.named_encoders else {KEY: first}
        write_safetensors(folder / f"{token.stem}.safetensors", tensors, token.header)


def fires(tokens: Sequence[TokenExport]) -> str:
    """A line about tokens that are plain words: the program takes the word for the token wherever it stands."""
    plain = [token.stem for token in tokens if token.stem.isalpha()]
    if not plain:
        return ""
    return (
        f"\nnote: {', '.join(plain)} would be taken for the token inside other words too, such as 'coffee {plain[0]}' "
        f"or '{plain[0]}board'; choose names with a digit, such as --names {plain[0]}1"
    )


def write_lora(run: StoredRun, tokens: Sequence[TokenExport], folder: Path, program: str) -> Path | None:
    """The run's LoRA, named after all its tokens; None where only tokens were learned.

    Raises:
        RunFolderError: the run trained the model's own tensors, for which there is no such file.
    """
    from uce.core.files import write_safetensors
    from uce.core.model import is_lora, lora_header, underscored

    weights = run.weights
    if not weights:
        return None
    if not is_lora(weights):
        raise RunFolderError(
            f"{run.path / 'weights.safetensors'} holds tensors of the model itself, which {program} reads from no "
            "small file; export with --to diffusers, or only the tokens with --set exporter.weights=false"
        )
    path = folder / f"{'-'.join(token.stem for token in tokens)[:80]}-lora.safetensors"
    widths = [int(value.shape[-1]) for value in tokens[0].vectors.values()]
    known = lora_header(weights, widths, path.stem)
    if licence := tokens[0].facts.get("licence"):
        known |= {"modelspec.license": str(licence)} if known else {}
    write_safetensors(path, underscored(weights), {**tokens[0].header, **known})
    return path
