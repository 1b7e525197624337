"""A CLIP-compatible tokenizer in which every training word is one token.

Any other text still splits into pieces, down to bytes. As in Stable Diffusion 2.x the padding
token is "!" with id 0, distinct from the end of the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from uce.core.files.writing import write_text

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "!"
MAX_LENGTH = 32


def byte_letters() -> list[str]:
    """The printable letters that stand for the 256 bytes, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(rest))]


def split_word(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encode one word with the merges known so far."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    while len(pieces) > 1:
        rank, place = min((ranks.get((a, b), 10**9), i) for i, (a, b) in enumerate(pairwise(pieces)))
        if rank == 10**9:
            break
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return pieces


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges that make each word one token.

    Later merges have lower priority, so they never disturb a word that is whole already.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = split_word(word, ranks)
        while len(pieces) > 1:
            ranks[(pieces[0], pieces[1])] = len(ranks)
            pieces = split_word(word, ranks)
    return list(ranks)


def make_tokenizer(words: Sequence[str], folder: Path) -> CLIPTokenizer:
    """Write the vocabulary to `folder` and load it as a tokenizer."""
    merges = learn_merges(dict.fromkeys(word.lower() for word in words))
    letters = byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [*(a + b for a, b in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes write the same files at once: each reads whole ones.
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=PAD,
        model_max_length=MAX_LENGTH,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
