"""Whether words obey: prompts followed, concepts kept apart, backgrounds left behind.

Legend: K concepts; P pictures drawn of each; Q prompts; N pictures of each prompt; C prototypes; B backgrounds; T
things found in one picture; M pictures; D width of the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uce.evaluation.metrics import TIE, Array, cosines


def recognised(features_MD: Array, prototypes_CD: Array) -> Array:
    """Which prototype each picture is nearest to: 1 there and 0 elsewhere, shared evenly where several tie.

    Returns:
        float64 (M, C); rows sum to 1.
    """
    similar = cosines(features_MD, prototypes_CD)
    nearest = similar >= similar.max(axis=1, keepdims=True) - TIE
    return np.asarray(nearest / nearest.sum(axis=1, keepdims=True))


def bleed_matrix(drawn_KPD: Array, prototypes_KD: Array) -> Array:
    """How often pictures of one concept (rows) are recognised as each concept of the same picture (columns).

    Returns:
        float64 (K, K); rows sum to 1, and what is not on the diagonal bled.
    """
    num, count, width = drawn_KPD.shape
    found = recognised(np.reshape(drawn_KPD, (num * count, width)), prototypes_KD)
    return np.asarray(found.reshape(num, count, num).mean(axis=1))


def recognised_once(things_TD: Array, prototypes_KD: Array, wanted: Sequence[int]) -> list[bool]:
    """Of one picture: is each wanted concept recognised in exactly one of its things?

    A thing between two concepts, as near to one as to the other, is neither.
    """
    if len(things_TD) == 0:
        return [False] * len(wanted)
    counts = (recognised(things_TD, prototypes_KD) == 1).sum(axis=0)
    return [bool(counts[concept] == 1) for concept in wanted]


def background_leak(drawn_PD: Array, scenes_BD: Array) -> float:
    """How often pictures of a thing are most like that thing on its source's background, rather than on others.

    Args:
        scenes_BD: the thing on B backgrounds, its source's first.

    Returns:
        a share; 1 / B is what pictures give that know nothing of the source's background.
    """
    return float(recognised(drawn_PD, scenes_BD)[:, 0].mean())


def alignment(prompted_KQND: Array, texts_QD: Array) -> Array:
    """How well pictures fit the prompts that they were drawn from: mean cosine over each prompt's pictures.

    Returns:
        float64 (K, Q) in [-1, 1].

    Source: Hessel et al., EMNLP 2021 (CLIPScore); beside identity: Peng et al., ICLR 2025 (DreamBench++).
    """
    num, _, count, width = prompted_KQND.shape
    columns = [
        cosines(prompted_KQND[:, q].reshape(-1, width), texts_QD[q : q + 1]).reshape(num, count).mean(axis=1)
        for q in range(len(texts_QD))
    ]
    return np.stack(columns, axis=1)
