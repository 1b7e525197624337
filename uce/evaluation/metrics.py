"""Likeness of generated pictures to their source, and whether they are told apart.

Legend: K concepts; P pictures drawn of each; C prototypes; M pictures; D width of the features.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
TIE = 1e-6
"""Cosines nearer than this count as equal: sums in another order differ by less."""

LEAST_PROTOTYPES = 2
MEANINGFUL_PROTOTYPES = 10

HEADS = {
    "sim_i": "SIM^I", "sim_c": "SIM^C", "acc_1": "ACC^1", "acc_3": "ACC^3", "iou": "IoU", "recall": "recall",
    "precision": "precision", "ari": "ARI", "count_error": "count error", "exact_count": "exact count",
    "prompt_following": "prompt", "background_right": "background", "bled": "bleed", "both_recognised": "both",
    "recomposed": "recomposed", "background_leak": "leak", "seconds": "seconds",
}  # fmt: skip
"""What people read above each measure."""


def cosines(left_MD: Array, right_CD: Array) -> Array:
    """Cosine of every pair of rows, float64 (M, C) in [-1, 1]; a row of zeros is like nothing (0)."""
    found: Array = _directions(left_MD) @ _directions(right_CD).T
    return found


def _directions(rows: Array) -> Array:
    values = np.asarray(rows, np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12))


def identity_similarity(drawn_KPD: Array, source_KD: Array) -> Array:
    """SIM^I of every concept: mean cosine of the pictures drawn from its token with its own source, float64 (K,)."""
    drawn, source = _directions(drawn_KPD), _directions(source_KD)
    return np.asarray(np.einsum("kpd,kd->k", drawn, source) / drawn.shape[1])


def compositional_similarity(drawn_PD: Array, source_D: Array) -> float:
    """SIM^C: mean cosine of the pictures drawn from all tokens together with the whole source."""
    return float(cosines(drawn_PD, np.asarray(source_D)[None]).mean())


def accuracy(drawn_MD: Array, owners_M: Array, prototypes_CD: Array, k: int) -> Array:
    """ACC^k of every picture: is its own prototype among the k most similar ones?

    Where prototypes tie for a place, the picture counts with the probability of a fair draw among them, so that the
    order of the prototypes does not matter and an encoder that sees no difference scores chance.

    Args:
        owners_M: index of each picture's own prototype.

    Returns:
        float64 (M,) in [0, 1].
    """
    similar = cosines(drawn_MD, prototypes_CD)
    own = similar[np.arange(len(similar)), np.asarray(owners_M, np.int64)][:, None]
    above = (similar > own + TIE).sum(axis=1)
    tied = (np.abs(similar - own) <= TIE).sum(axis=1)
    return np.asarray(np.clip((k - above) / tied, 0.0, 1.0))
