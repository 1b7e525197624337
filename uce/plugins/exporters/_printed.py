"""The lines of Python that put a token into a diffusers pipeline, for models whose text encoders have names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uce.core import StoredRun, TokenExport

POOL = (
    "# published configurations say 2, which pools at the highest id: that of the new word\n"
    "pipe.text_encoder_2.config.eos_token_id = pipe.tokenizer_2.eos_token_id\n"
    "pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id"
)
"""Without it, SDXL's pooled text is that of the token instead of the whole prompt's."""
_PLACES = {"clip_l": "", "clip_g": "_2"}


def is_stable_diffusion_3(info: Mapping[str, Any], token: TokenExport) -> bool:
    """Whether the token's model is one, whose pipeline has no loader: by its encoders, else by what the run says."""
    if any(name.startswith("t5") for name in token.vectors):
        return any(name.startswith("clip_g") for name in token.vectors) or _says_3(info)
    return _says_3(info)


def _says_3(info: Mapping[str, Any]) -> bool:
    return "Stable Diffusion 3" in str((info.get("model") or {}).get("description"))


def loading_lines(run: StoredRun, token: TokenExport, file: str) -> list[str]:
    """Lines for a token whose file is read by `safetensors.torch.load_file({file})`."""
    third = is_stable_diffusion_3(run.info, token)
    places = {**_PLACES, "t5": "_3" if third else "_2"}
    if any(name not in places for name in token.vectors):
        return [
            "# vectors at a text encoder's output are nothing that diffusers loads; this draws with them:",
            "import uce",
            f'pipe = uce.load("{run.path.name}").pipeline()',
        ]
    pooled = [] if third or "clip_g" not in token.vectors else [POOL]
    lines = ["import safetensors.torch", *pooled, f"vectors = safetensors.torch.load_file({file})"]
    for name in token.vectors:
        end = places[name]
        lines += _by_hand(token.token, name, end) if third else [_by_loader(token.token, name, end)]
        flux = not third and "clip_g" not in token.vectors
        if name.startswith("clip") and (third or flux):
            inner = ".text_model" if third else ""  # as transformers 5 has them: with a projection one level deeper
            lines.append(
                f"pipe.text_encoder{end}{inner}.eos_token_id = pipe.tokenizer{end}.eos_token_id"
                "  # else the text is summed up at the new word"
            )
    return lines


def _by_loader(token: str, name: str, end: str) -> str:
    return (
        f'pipe.load_textual_inversion(vectors["{name}"], token="{token}", '
        f"text_encoder=pipe.text_encoder{end}, tokenizer=pipe.tokenizer{end})"
    )


def _by_hand(token: str, name: str, end: str) -> list[str]:
    """What `load_textual_inversion` does, for a pipeline that has no such thing."""
    tokenizer, encoder = f"pipe.tokenizer{end}", f"pipe.text_encoder{end}"
    return [
        f'rows = vectors["{name}"].reshape(-1, vectors["{name}"].shape[-1])',
        f'words = ["{token}", *(f"{token}_{{i}}" for i in range(1, len(rows)))]',
        f"{tokenizer}.add_tokens(words)",
        f"size = max(len({tokenizer}), {encoder}.get_input_embeddings().num_embeddings)",
        f"table = {encoder}.resize_token_embeddings(size, mean_resizing=False).weight",
        f"table.data[{tokenizer}.convert_tokens_to_ids(words)] = rows.to(table)",
    ]
