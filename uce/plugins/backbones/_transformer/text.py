"""Text with learned vectors in it, for T5, and for several encoders together.

Legend: B prompts; L text positions; D width of T5; V learned vectors.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from uce.core import Prompt, StageInputError

T5, T5_OUT = "t5", "t5_out"
SPACE = "\u2581"
KEPT = 64
"""Texts whose states are kept."""


class T5Reader:
    """Tokenises and encodes for T5, whose learned vectors stand at its input ("t5") or at its output ("t5_out").

    At the output no gradient goes through T5, texts are encoded once, and T5 itself need not stay in memory.
    """

    def __init__(self, tokenizer: Any, load: Callable[[], Any], length: int, name: str = T5) -> None:
        """
        Args:
            load: gives the T5 encoder, on the CPU.
            length: positions that a text fills.
            name: "t5" or "t5_out".
        """
        self.tokenizer, self.load, self.length, self.name = tokenizer, load, length, name
        self.device, self.offload = "cpu", False
        self._encoder: Any = None
        self._table: Tensor | None = None
        self._knowing: tuple[tuple[str, ...], Any] = ((), tokenizer)
        self._states: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()

    @property
    def at_output(self) -> bool:
        return self.name == T5_OUT

    @property
    def encoder(self) -> Any:
        """T5 on its device, loaded where it is not in memory."""
        if self._encoder is None:
            self._encoder = self.load().requires_grad_(False).eval()
        return self._encoder.to(self.device)

    def rest(self) -> None:
        """Let T5 go until another text is to be encoded; its words' vectors and known texts stay."""
        self._encoder = None

    def _put_away(self) -> None:
        """Off the device, where the model is to leave it free; never while a gradient may still come back."""
        if self.offload and self._encoder is not None:
            self._encoder.to("cpu")

    def word_ids(self, word: str) -> list[int]:
        """Token ids of `word` without the end."""
        return [int(value) for value in self.tokenizer(word, add_special_tokens=False).input_ids]

    def words(self) -> dict[str, int]:
        """Complete words of letters, which T5 marks by the space before them, and their ids, smallest id first."""
        by_id = sorted(self.tokenizer.get_vocab().items(), key=lambda item: int(item[1]))
        found = {token.removeprefix(SPACE): int(row) for token, row in by_id if token.startswith(SPACE)}
        return {word: row for word, row in found.items() if word.isascii() and word.isalpha()}

    @torch.no_grad()
    def table(self) -> Tensor:
        """(vocabulary, D): input embeddings, or what T5 makes of each alone where vectors stand at its output."""
        if self._table is None:
            own = self.encoder.get_input_embeddings().weight.detach()
            self._table = self._said_alone(len(own)) if self.at_output else own
            if self.at_output:
                self.rest()
            self._put_away()
        return self._table

    def _said_alone(self, count: int) -> Tensor:
        end = int(self.tokenizer.eos_token_id)
        parts = []
        for start in range(0, count, 512):
            ids = torch.arange(start, min(start + 512, count), device=self.device)
            pairs = torch.stack([ids, torch.full_like(ids, end)], dim=1)
            parts.append(self.encoder(pairs).last_hidden_state[:, 0])
        return torch.cat(parts)

    def tokenize(self, text: str, slots: Mapping[str, Sequence[int]]) -> tuple[list[int], list[int], int]:
        """Ids and learned vectors of every position, and where the text ends.

        diffusers adds a word per vector to the tokenizer; a copy of the tokenizer that knows them cuts the text here,
        so that no rule of that cut is written twice.

        Raises:
            StageInputError: the text is longer than the model reads.
        """
        of_word: dict[str, int] = {}
        for word, vectors in slots.items():
            names = [word, *(f"{word}_{i}" for i in range(1, len(vectors)))]
            of_word |= dict(zip(names, vectors, strict=True))
            text = text.replace(word, " ".join(names))
        tokenizer = self._that_knows(tuple(of_word))
        of_id = {int(tokenizer.convert_tokens_to_ids(word)): slot for word, slot in of_word.items()}
        found = [int(value) for value in tokenizer(text, truncation=False).input_ids]
        if len(found) > self.length:
            raise StageInputError(
                f"the text has {len(found) - 1} tokens but T5 reads at most {self.length - 1} here; shorten "
                f"{text[:60]!r}, or raise model.text_length"
            )
        marks = [of_id.get(value, -1) for value in found]
        filler = int(self.tokenizer.unk_token_id)  # the vector replaces it
        ids = [filler if mark >= 0 else value for value, mark in zip(found, marks, strict=True)]
        rest = self.length - len(ids)
        return ids + [int(self.tokenizer.pad_token_id)] * rest, marks + [-1] * rest, len(found) - 1

    def _that_knows(self, words: tuple[str, ...]) -> Any:
        if self._knowing[0] != words:
            tokenizer = copy.deepcopy(self.tokenizer)
            tokenizer.add_tokens(list(words))
            self._knowing = words, tokenizer
        return self._knowing[1]

    def states(self, prompts: Sequence[Prompt], vectors: Tensor | None) -> Tensor:
        """(B, L, D), differentiable in `vectors` (V, D)."""
        slots = torch.stack([prompt.slots[self.name] for prompt in prompts]).to(self.device)
        learned = vectors if int(slots.max()) >= 0 else None
        if int(slots.max()) >= 0 and (vectors is None or vectors.ndim != 2 or len(vectors) <= int(slots.max())):
            found = "none" if vectors is None else str(tuple(vectors.shape))
            raise StageInputError(
                f"the prompts use learned vector {int(slots.max())}; vectors must be (V, d), found {found}"
            )
        if learned is None or self.at_output:
            states = torch.stack([self._alone(prompt) for prompt in prompts])
            self._put_away()
            return states if learned is None else laid_over(states, slots, learned)
        ids = torch.stack([prompt.ids[self.name] for prompt in prompts]).to(self.device)
        entrance = self.encoder.encoder.embed_tokens  # beside T5's shared table, with the same weights
        handle = entrance.register_forward_hook(lambda module, args, output: laid_over(output, slots, learned))
        try:
            states = self.encoder(ids).last_hidden_state
        finally:
            handle.remove()
        assert isinstance(states, Tensor)
        return states

    @torch.no_grad()
    def _alone(self, prompt: Prompt) -> Tensor:
        """States of one text, whatever its learned vectors are, (L, D)."""
        key = tuple(prompt.ids[self.name].tolist())
        if key not in self._states:
            self._states[key] = self.encoder(prompt.ids[self.name][None].to(self.device)).last_hidden_state[0]
            while len(self._states) > KEPT:
                self._states.popitem(last=False)
        self._states.move_to_end(key)
        return self._states[key]


def laid_over(values: Tensor, slots: Tensor, vectors: Tensor) -> Tensor:
    """`values` (B, L, D) with rows of `vectors` (V, D) wherever `slots` (B, L) names one."""
    chosen = vectors.to(values)[slots.clamp_min(0)]
    return torch.where((slots >= 0)[..., None], chosen, values)


class TextSide:
    """The text encoders of one model, of which some (the carriers) take learned vectors.

    In the others a concept's word is ordinary text, as in a diffusers pipeline that got it in one encoder only.
    """

    def __init__(
        self,
        clips: Mapping[str, Any],
        t5: T5Reader | None,
        carriers: Sequence[str],
        begins: Mapping[str, int | None],
    ) -> None:
        """
        Args:
            clips: per name a `PromptReader`.
            carriers: names of encoders, "t5_out" for T5's output.
            begins: where each encoder's positions begin in the model's text states; None where it is only summed up.
        """
        self.clips, self.t5, self.carriers, self.begins = clips, t5, tuple(carriers), begins

    def reader(self, encoder: str) -> Any:
        """The reader behind a carrier.

        Raises:
            StageInputError: the model has no such carrier.
        """
        if encoder not in self.carriers:
            raise StageInputError(f"unknown text encoder {encoder!r}; available: {', '.join(self.carriers)}")
        return self.t5 if encoder in (T5, T5_OUT) else self.clips[encoder]

    def tokenize(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt:
        """Every encoder's ids and learned vectors, the carriers first."""
        ids: dict[str, Tensor] = {}
        marks: dict[str, Tensor] = {}
        ends: dict[str, int] = {}
        names = [*self.carriers, *(name for name in self._names() if name not in self.carriers)]
        for name in names:
            own = slots if name in self.carriers else {}
            if name in (T5, T5_OUT):
                assert self.t5 is not None
                found, places, end = self.t5.tokenize(text, own)
                ids[name] = torch.tensor(found, dtype=torch.int64)
                marks[name] = torch.tensor(places, dtype=torch.int64)
                ends[name] = end
            else:
                prompt = self.clips[name].tokenize(text, own)
                ids[name], marks[name], ends[name] = prompt.ids[name], prompt.slots[name], prompt.end[name]
        return Prompt(text, ids, marks, ends, {name: self.begins[name.removesuffix("_out")] for name in names})

    def _names(self) -> list[str]:
        return [*self.clips, *([self.t5.name] if self.t5 is not None else [])]
