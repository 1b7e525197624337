"""CLIP's byte-pair vocabulary, shipped with us, for single-file checkpoints that hold none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
_SIZE = 49152  # of the published vocabulary: 2 x 256 bytes, the merges and two special tokens make 49408 - 256


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(token -> id, merges in order of rank), as OpenAI published them."""
    lines = gzip.decompress(_FILE.read_bytes()).decode("utf-8").split("\n")
    merges = []
    for line in lines[1 : _SIZE - 256 - 2 + 1]:
        first, second = line.split()
        merges.append((first, second))
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(first + second for first, second in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges


def clip_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer with the special tokens and length of `folder`/tokenizer_config.json."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    options = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    options.pop("tokenizer_class")
    vocabulary, merges = clip_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, **options)


def _byte_letters() -> list[str]:
    """One printable letter for each byte, printable bytes first: the order in which CLIP numbers them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
