"""Text with learned vectors in it: tokenised and encoded as the model's own pipeline would.

Legend: B prompts; L text positions; D width of the text states; d width of the text encoder; V learned vectors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from uce.core import Conditioning, ModelError, Prompt, StageInputError

ENCODER = "clip"
WORD_END = "</w>"


class Reader(Protocol):
    """What a backbone needs of its text side."""

    def word_ids(self, word: str) -> list[int]: ...

    def words(self) -> dict[str, int]: ...

    def tokenize(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt: ...

    def condition(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor]) -> Conditioning: ...


def _require_marks(tokenizer: Any) -> None:
    """ModelError where begin, end or padding is missing."""
    for name in ("bos_token", "eos_token", "pad_token"):
        if not isinstance(getattr(tokenizer, f"{name}_id"), int):
            raise ModelError(f"the tokenizer has no {name}; take tokenizer_config.json from the model again")


def _length(tokenizer: Any) -> int:
    """Positions that a tokenizer fills, a huge number where its folder does not tell; ModelError where it is no use."""
    length = tokenizer.model_max_length
    if isinstance(length, bool) or not isinstance(length, int | float) or not length > 2:  # begin, a word, end
        raise ModelError(
            f"the tokenizer's model_max_length is {length!r:.60}, allowed is a whole number above 2; "
            "take tokenizer_config.json from the model again"
        )
    return int(min(length, sys.maxsize))


class PromptReader:
    """Tokenises for one CLIP tokenizer and encodes with one CLIP text encoder, which goes by `name`."""

    def __init__(self, tokenizer: Any, text_encoder: Any, name: str = ENCODER) -> None:
        self.tokenizer, self.text_encoder, self.name = tokenizer, text_encoder, name
        _require_marks(tokenizer)
        positions = int(text_encoder.config.max_position_embeddings)
        self.length = min(_length(tokenizer), positions)

    def word_ids(self, word: str) -> list[int]:
        """Token ids of `word` without begin, end and padding."""
        ids = self.tokenizer(word, add_special_tokens=False).input_ids
        return [int(value) for value in ids]

    def words(self) -> dict[str, int]:
        """Complete words of letters (CLIP marks the end of a word with "</w>") and their ids, smallest id first."""
        by_id = sorted(self.tokenizer.get_vocab().items(), key=lambda item: int(item[1]))
        found = {token.removesuffix(WORD_END): int(row) for token, row in by_id if token.endswith(WORD_END)}
        return {word: row for word, row in found.items() if word.isascii() and word.isalpha()}

    def tokenize(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt:
        """Begin, text, end-of-text, padding; each word of `slots` stands for those learned vectors in a row.

        diffusers adds concept words to the tokenizer, which cuts the text at them before anything else is done; so
        does this, without changing the tokenizer.
        """
        ids, marks = [int(self.tokenizer.bos_token_id)], [-1]
        for piece in _pieces(text, list(slots)):
            vectors = slots.get(piece.word) if piece.word is not None else None
            if vectors is None:
                found = self.word_ids(piece.text)
                ids += found
                marks += [-1] * len(found)
            else:
                ids += [int(self.tokenizer.bos_token_id)] * len(vectors)  # any valid id: the vector replaces it
                marks += list(vectors)
        end = len(ids)
        if end >= self.length:
            raise StageInputError(
                f"the text has {end - 1} tokens but the model reads at most {self.length - 2}; shorten {text[:60]!r}"
            )
        padding = self.length - end - 1
        ids += [int(self.tokenizer.eos_token_id)] + [int(self.tokenizer.pad_token_id)] * padding
        marks += [-1] * (padding + 1)
        return Prompt(
            text=text,
            ids={self.name: torch.tensor(ids, dtype=torch.int64)},
            slots={self.name: torch.tensor(marks, dtype=torch.int64)},
            end={self.name: ids.index(int(self.tokenizer.eos_token_id))},
        )

    def encode(self, prompts: Sequence[Prompt], vectors: Tensor | None) -> Tensor:
        """Text states (B, L, D), differentiable in `vectors` (V, d)."""
        states = self.outputs(prompts, vectors).last_hidden_state
        assert isinstance(states, Tensor)
        return states

    def condition(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor]) -> Conditioning:
        """What the UNet is given of the prompts."""
        return Conditioning(states=self.encode(prompts, vectors.get(self.name)))

    def outputs(self, prompts: Sequence[Prompt], vectors: Tensor | None, **options: Any) -> Any:
        """All that the text encoder gives for `options`, differentiable in `vectors` (V, d)."""
        device = self.text_encoder.get_input_embeddings().weight.device
        ids = torch.stack([prompt.ids[self.name] for prompt in prompts]).to(device)
        slots = torch.stack([prompt.slots[self.name] for prompt in prompts]).to(device)
        highest = int(slots.max())
        if highest >= 0 and (vectors is None or vectors.ndim != 2 or vectors.shape[0] <= highest):
            found = "none" if vectors is None else str(tuple(vectors.shape))
            raise StageInputError(f"the prompts use learned vector {highest}; vectors must be (V, d), found {found}")
        mask = None
        if getattr(self.text_encoder.config, "use_attention_mask", False):
            end = torch.tensor([prompt.end[self.name] for prompt in prompts], device=device)
            mask = (torch.arange(ids.shape[1], device=device)[None] <= end[:, None]).long()
        with _learned_vectors(self.text_encoder, slots, vectors if highest >= 0 else None):
            return self.text_encoder(input_ids=ids, attention_mask=mask, **options)


@contextmanager
def _learned_vectors(text_encoder: Any, slots: Tensor, vectors: Tensor | None) -> Iterator[None]:
    """Within the block, the token embedding gives `vectors` wherever `slots` says so."""
    if vectors is None:
        yield
        return

    def replace(module: Any, args: Any, output: Tensor) -> Tensor:
        chosen = vectors.to(output)[slots.clamp_min(0)]
        return torch.where((slots >= 0)[..., None], chosen, output)

    handle = text_encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


class _Piece:
    def __init__(self, text: str, word: str | None) -> None:
        self.text, self.word = text, word


def _pieces(text: str, words: Sequence[str]) -> Iterator[_Piece]:
    """Cut `text` at `words`, the longest first; letter case does not matter, as in CLIP's tokenizer."""
    if not words:
        yield _Piece(text, None)
        return
    by_fold = {word.lower(): word for word in words}
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    for part in re.split(f"({pattern})", text, flags=re.IGNORECASE):
        if part:
            yield _Piece(part, by_fold.get(part.lower()))
