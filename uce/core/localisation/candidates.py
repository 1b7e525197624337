"""From clusters to candidate concepts: what the first refiner of the chain is given.

Legend: N cells of the grid; K clusters; h, w grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from uce.core.errors import NothingFoundError, StageInputError
from uce.core.files.masks import Masks
from uce.core.flow.data import AttentionMaps, Clusters, Concepts
from uce.core.localisation.finch import mean_rows


def saliency_scores(masks_Khw: Tensor, saliency_hw: Tensor) -> Tensor:
    """Mean saliency inside each mask over the mean saliency of the picture, float32 (K,).

    A mask without cells scores 0. Where the picture's saliency is 0 everywhere nothing stands out: all score 1.

    Source: ConceptExpress (Hao et al., ECCV 2024), section 4.1.
    """
    saliency = saliency_hw.detach().cpu().double()
    masks = masks_Khw.cpu().flatten(1).double()
    mean = saliency.mean()
    if float(mean) <= 0:
        return torch.ones(len(masks))
    inside = (masks @ saliency.flatten()) / masks.sum(dim=1).clamp_min(1)
    return (inside / mean).float()


def mean_maps(affinity_NN: Tensor, labels_N: Tensor, num: int) -> Tensor:
    """Plain mean affinity row of the cells with label 0 to num - 1, summed in float64, float32 (num, N)."""
    rows = affinity_NN.detach().cpu().numpy()
    return torch.from_numpy(mean_rows(rows, labels_N.cpu().numpy().astype(np.int64), num)).float()


def with_maps(concepts: Concepts, attention: AttentionMaps) -> Concepts:
    """The same concepts with the plain mean of their cells' rows in these maps; one without cells keeps its own."""
    masks = concepts.masks.cpu()
    owner = torch.where(masks.any(dim=0), masks.int().argmax(dim=0), -1)
    maps = mean_maps(attention.affinity, owner.flatten(), len(masks))
    return replace(concepts, maps=torch.where(masks.flatten(1).any(dim=1)[:, None], maps, concepts.maps.cpu().float()))


def candidate_concepts(attention: AttentionMaps, clusters: Clusters) -> Concepts:
    """One candidate concept per cluster, in the order of their labels; cells labelled -1 belong to none.

    Returns:
        Concepts on the CPU: mask, plain mean of the cluster's affinity rows, score (see `saliency_scores`); the merge
        threshold is carried over, and pixel masks and words where the clusterer gave some.

    Raises:
        StageInputError: labels of another grid.
        NothingFoundError: no cell has a cluster.
    """
    if tuple(clusters.labels.shape) != attention.grid:
        raise StageInputError(
            f"cluster labels must be {attention.grid} like the saliency, found {tuple(clusters.labels.shape)}"
        )
    labels = clusters.labels.cpu()
    names = torch.unique(labels[labels >= 0])
    if len(names) == 0:
        raise NothingFoundError(
            "the clusterer left every cell unassigned; give it smaller clusters or choose another, such as "
            "--clusterer finch"
        )
    masks = labels[None] == names[:, None, None]
    compact = torch.where(labels >= 0, torch.searchsorted(names, labels), -1)
    return Concepts(
        masks=masks,
        maps=mean_maps(attention.affinity, compact.flatten(), len(names)),
        scores=saliency_scores(masks, attention.saliency),
        pixel_masks=None if clusters.pixel_masks is None else clusters.pixel_masks.cpu()[names],
        labels=None if clusters.concept_labels is None else [clusters.concept_labels[k] for k in names.tolist()],
        merge_threshold=clusters.merge_threshold,
    )


def with_masks(concepts: Concepts, masks_Khw: Masks, owners: Sequence[int], attention: AttentionMaps) -> Concepts:
    """Concepts with other masks; mask i comes from concept `owners[i]` and takes over its word.

    Where a mask is its owner's, map and score stay; a new one gets the plain mean affinity row and the saliency score
    of its cells. Pixel masks stay only where no mask changed.

    Raises:
        StageInputError: masks overlap or are of another grid.
    """
    import torch

    from uce.core.flow.data import Concepts
    from uce.core.localisation.candidates import mean_maps, saliency_scores

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
