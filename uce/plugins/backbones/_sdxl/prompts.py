"""Text for two encoders: states side by side, and the second encoder's pooled embedding.

Legend: B prompts; L text positions; D width of the text states, of both encoders together; P width of the pooled
embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from uce.core import Conditioning, ModelError, Prompt
from uce.plugins.backbones._sd.prompts import PromptReader
from uce.plugins.backbones._sdxl.parts import XLParts

ENCODERS = ("clip_l", "clip_g")


class TwoPromptReaders:
    """Both tokenizers cut the text alike, so that a token stands at the same positions for both encoders."""

    def __init__(self, parts: XLParts, picture_side: int) -> None:
        self._first = PromptReader(parts.tokenizer, parts.text_encoder, ENCODERS[0])
        self._second = PromptReader(parts.tokenizer_2, parts.text_encoder_2, ENCODERS[1])
        alike = parts.tokenizer.get_vocab() == parts.tokenizer_2.get_vocab()
        if not alike or self._first.length != self._second.length:
            raise ModelError(
                f"model '{parts.model}': tokenizer and tokenizer_2 have other vocabularies or lengths; they do not "
                "belong together"
            )
        # as the pipeline says it of a whole picture at the model's own side: original size, crop, target size
        self._sizes = torch.tensor([picture_side, picture_side, 0, 0, picture_side, picture_side], dtype=torch.float32)

    def word_ids(self, word: str) -> list[int]:
        """Token ids of `word`, the same for both encoders."""
        return self._first.word_ids(word)

    def words(self) -> dict[str, int]:
        """Complete words and their ids, the same for both encoders."""
        return self._first.words()

    def tokenize(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt:
        """As `PromptReader.tokenize`; the encoders differ only in what fills the rest."""
        first, second = self._first.tokenize(text, slots), self._second.tokenize(text, slots)
        return Prompt(
            text=text,
            ids={**first.ids, **second.ids},
            slots={**first.slots, **second.slots},
            end={**first.end, **second.end},
        )

    def condition(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor]) -> Conditioning:
        """States (B, L, D) before the encoders' last layers, pooled (B, P) and sizes (B, 6).

        The pooled embedding is that of the end of the text, where the encoder was trained to sum it up.
        """
        first, second = (
            reader.outputs(prompts, vectors.get(reader.name), output_hidden_states=True)
            for reader in (self._first, self._second)
        )
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        pooled: Tensor = second.text_embeds
        sizes = self._sizes.to(pooled.device).expand(len(prompts), -1)
        return Conditioning(states=states, added={"text_embeds": pooled, "time_ids": sizes})
