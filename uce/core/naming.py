"""Which words of the model's vocabulary are nearest to a learned token: an answer to "which token is which thing?".

Legend: K concepts; V words; d width of a text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

from uce.core.backbone import Backbone
from uce.core.data import Concepts, LearnedConcepts, TokenPlan
from uce.core.store import save_tensors

WORDS_FILE = "words.safetensors"
"""In stages/: the words near the learned tokens with their vectors, so that a report needs no model."""
SHORTEST = 3
"""Letters of a word that can be a label."""
NEAREST = 3
"""Words kept of each token."""


def label_words(backbone: Backbone) -> dict[str, int]:
    """Complete words of at least three letters and their ids for the first text encoder, in the vocabulary's order.

    None where the model does not know its words; nothing but labels depends on them.
    """
    words = backbone.words(backbone.encoders[0]) if hasattr(backbone, "words") else {}
    return {word: row for word, row in words.items() if len(word) >= SHORTEST}


@torch.no_grad()
def nearest_words(backbone: Backbone, learned: LearnedConcepts) -> list[list[str]]:
    """Of each token the words whose embeddings have the highest cosine with its (first) vector, best first.

    Empty where the vocabulary names no words.
    """
    words = label_words(backbone)
    if not words:
        return [[] for _ in learned.tokens]
    encoder = backbone.encoders[0]
    rows = backbone.embedding_table(encoder)
    table_Vd = F.normalize(rows[torch.tensor(list(words.values()), device=rows.device)].float().cpu(), dim=1)
    tokens_Kd = F.normalize(learned.embeddings[encoder][:, 0], dim=1)
    order_KV = (tokens_Kd @ table_Vd.T).argsort(dim=1, descending=True, stable=True)
    names = list(words)
    return [[names[i] for i in row] for row in order_KV[:, :NEAREST].tolist()]


def keep_vectors(path: Path, backbone: Backbone, nearest: Sequence[Sequence[str]]) -> None:
    """Write the vectors of the words in `nearest`, float32 (V, d) for the first text encoder."""
    known = label_words(backbone)
    words = [word for word in dict.fromkeys(word for row in nearest for word in row) if word in known]
    if not words:
        path.unlink(missing_ok=True)
        return
    rows = backbone.embedding_table(backbone.encoders[0])
    vectors = rows[torch.tensor([known[word] for word in words], device=rows.device)].float().cpu()
    save_tensors(path, {"vectors": vectors}, {"words": words})


def labels_for(concepts: Concepts, plan: TokenPlan, nearest: list[list[str]]) -> list[str]:
    """A label per concept ("" for none): the initializer's, else a refiner's, else the word nearest to the token."""
    planned, refined = (labels or [""] * len(concepts) for labels in (plan.labels, concepts.labels))
    return [p or r or (n[0] if n else "") for p, r, n in zip(planned, refined, nearest, strict=True)]
