"""Random starting vectors: rows of the text encoder's own vocabulary.

The paper's code starts from copies of the vocabulary's last rows; we draw distinct rows at random from the run's seed,
which is what the paper describes and works for every vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from uce.core.flow.context import Context
from uce.core.model.backbone import Backbone


def concept_tokens(num_concepts: int) -> tuple[str, ...]:
    """The words that stand for concepts: "<asset0>", "<asset1>", ..."""
    return tuple(f"<asset{k}>" for k in range(num_concepts))


def random_starts(
    backbone: Backbone, num_concepts: int, num_splits: int, context: Context, num_vectors: int = 1
) -> dict[str, Tensor]:
    """Per text encoder float32 (K, S, d): K * S vocabulary rows; (K, S, n, d) for n vectors per concept.

    Rows are distinct (as long as the vocabulary has enough), and never begin, end or padding. Encoders that share a
    vocabulary start from the same words.
    """
    empty = backbone.tokenize("")
    starts = {}
    for encoder in backbone.encoders:
        table_VD = backbone.embedding_table(encoder)
        usable = torch.ones(table_VD.shape[0], dtype=torch.bool)
        usable[empty.ids[encoder].cpu()] = False
        candidates = usable.nonzero()[:, 0]
        wanted = num_concepts * num_splits * num_vectors
        order = torch.randperm(len(candidates), generator=context.generator(salt=f"starts {len(table_VD)}"))
        chosen = candidates[order.repeat(-(-wanted // len(order)))[:wanted]]
        rows = table_VD[chosen.to(table_VD.device)].detach().float().cpu()
        several = (num_vectors,) if num_vectors > 1 else ()
        starts[encoder] = rows.reshape(num_concepts, num_splits, *several, rows.shape[1])
    return starts


def ranked_starts(
    words: Mapping[str, Tensor], order_KV: Tensor, num_splits: int, num_vectors: int = 1
) -> dict[str, Tensor]:
    """Per text encoder float32 (K, S, d), or (K, S, n, d): each concept's best words.

    Every split begins with one of the S best; its further vectors are the next best.

    Args:
        words: per text encoder (V, d).
        order_KV: int64, rows of `words` for every concept, the best first; S * n of them at least.
    """
    best_KnS = order_KV[:, : num_splits * num_vectors].reshape(len(order_KV), num_vectors, num_splits)
    chosen = best_KnS.transpose(1, 2) if num_vectors > 1 else best_KnS[:, 0]
    return {encoder: rows[chosen] for encoder, rows in words.items()}
