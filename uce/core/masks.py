"""Where masks are and what touches what: boxes, connected parts, unions, neighbours. Touching means 4-neighbours.

Legend: K masks; h, w cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from uce.core.data import AttentionMaps, Concepts

Masks = npt.NDArray[np.bool_]


def mask_box(mask_hw: Masks) -> tuple[tuple[int, int], tuple[int, int]]:
    """First row and the one after the last, and the same of columns, of a mask that is not empty."""
    rows, columns = (np.flatnonzero(mask_hw.any(axis=axis)) for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def components(mask_hw: Masks) -> tuple[npt.NDArray[np.int32], int]:
    """Connected parts of a mask: labels (h, w), 0 outside and 1 to n inside, and their number n."""
    from scipy import ndimage

    labels, number = ndimage.label(mask_hw)
    return np.asarray(labels, np.int32), int(number)


def union(masks_Khw: Masks, labels_K: npt.NDArray[np.int64]) -> Masks:
    """Union of the masks with the same label, bool (max label + 1, h, w)."""
    result = np.zeros((int(labels_K.max()) + 1, *masks_Khw.shape[1:]), np.bool_)
    for label, mask in zip(labels_K.tolist(), masks_Khw, strict=True):
        result[label] |= mask
    return result


def touching(masks_Khw: Masks) -> Masks:
    """Which pairs of masks touch or overlap, bool (K, K), False on the diagonal.

    Two masks touch when their union has fewer connected parts than the two have apart, which is when a cell of one is
    a cell, or a 4-neighbour of a cell, of the other.
    """
    from scipy import ndimage

    num = len(masks_Khw)
    result = np.zeros((num, num), np.bool_)
    for index, mask in enumerate(masks_Khw):
        grown = ndimage.binary_dilation(mask)
        result[index] = (masks_Khw & grown).any(axis=(1, 2))
    np.fill_diagonal(result, False)
    return result


def with_masks(concepts: Concepts, masks_Khw: Masks, owners: Sequence[int], attention: AttentionMaps) -> Concepts:
    """Concepts with other masks; mask i comes from concept `owners[i]` and takes over its word.

    Where a mask is its owner's, map and score stay; a new one gets the plain mean affinity row and the saliency score
    of its cells. Pixel masks stay only where no mask changed.

    Raises:
        StageInputError: masks overlap or are of another grid.
    """
    import torch

    from uce.core.candidates import mean_maps, saliency_scores
    from uce.core.data import Concepts

    old = concepts.masks.cpu().numpy()[list(owners)]
    same = (old == masks_Khw).all(axis=(1, 2))
    if len(masks_Khw) == len(concepts) and same.all():
        return concepts
    masks = torch.from_numpy(np.ascontiguousarray(masks_Khw))
    labels = torch.where(masks.any(dim=0), masks.int().argmax(dim=0), -1)
    kept = torch.from_numpy(same)
    rows = torch.as_tensor(list(owners), dtype=torch.int64)
    maps = mean_maps(attention.affinity, labels.flatten(), len(masks))
    scores = saliency_scores(masks, attention.saliency)
    return Concepts(
        masks=masks,
        maps=torch.where(kept[:, None], concepts.maps.cpu().float()[rows], maps),
        scores=torch.where(kept, concepts.scores.cpu().float()[rows], scores),
        labels=None if concepts.labels is None else [concepts.labels[owner] for owner in owners],
        merge_threshold=concepts.merge_threshold,
    )
