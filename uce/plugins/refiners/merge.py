"""The paper's post-clustering: parts that touch and agree become one concept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Concepts


class MergeRefiner:
    """Joins parts: concepts that touch and whose maps agree become one (the paper's post-clustering)."""

    name = "merge"

    class Settings(BaseSettings):
        threshold: float | None = Field(
            None,
            ge=0,
            description="symmetric KL distance up to which touching concepts may join; "
            "default: the clusterer's merge threshold, no limit where it gives none",
        )

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, attention: AttentionMaps, settings: Settings) -> Concepts:
        """FINCH on the concepts' maps, where only touching pairs within the threshold may join.

        A joined concept's mask is the union of its parts, its map the plain (not area-weighted) mean of their maps,
        its score that of the union. Touching means 4-neighbours.

        Args:
            concepts: masks bool (K, h, w), maps (K, N).
            attention: saliency (h, w), for the scores.

        Returns:
            1 to K concepts in order of their first part; the K given ones where nothing joins.

        Source: ConceptExpress (Hao et al., ECCV 2024), section 4.1. As in the reference, the hierarchy's last
        partition counts, touching is decided anew at every level on the masks joined so far, and a level after the
        first does not join everything into one. Where the clusterer gave no threshold, touching alone decides.
        """
        from uce.core.localisation import finch_partitions

        if len(concepts) < 2:
            return concepts
        limit = settings.threshold if settings.threshold is not None else concepts.merge_threshold
        masks = concepts.masks.cpu().numpy()

        def joinable(labels: npt.NDArray[np.int64], distances: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
            from uce.core.localisation import touching, union

            pairs = touching(union(masks, labels))
            return pairs if limit is None else pairs & (distances <= limit)

        partition = finch_partitions(concepts.maps.cpu().numpy(), joinable=joinable)[-1]
        if partition.num_clusters == len(concepts):
            return concepts
        return _joined(concepts, partition.labels, attention)


def _joined(concepts: Concepts, labels: npt.NDArray[np.int64], attention: AttentionMaps) -> Concepts:
    """One concept per label: union of masks, mean of maps, score of the union, words of the parts."""
    import torch

    from uce.core import Concepts
    from uce.core.localisation import mean_rows, saliency_scores, union

    num = int(labels.max()) + 1
    masks = torch.from_numpy(union(concepts.masks.cpu().numpy(), labels))
    pixel_masks = concepts.pixel_masks
    words = concepts.labels
    return Concepts(
        masks=masks,
        maps=torch.from_numpy(mean_rows(concepts.maps.cpu().numpy(), labels, num)).float(),
        scores=saliency_scores(masks, attention.saliency),
        pixel_masks=None if pixel_masks is None else torch.from_numpy(union(pixel_masks.cpu().numpy(), labels)),
        labels=None if words is None else [_words(words, labels == index) for index in range(num)],
        merge_threshold=concepts.merge_threshold,
    )


def _words(words: list[str], chosen: npt.NDArray[np.bool_]) -> str:
    """The distinct words of the joined concepts, in their order."""
    return " ".join(dict.fromkeys(word for word, keep in zip(words, chosen, strict=True) if keep))
