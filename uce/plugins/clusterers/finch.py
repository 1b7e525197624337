"""The paper's clusterer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Clusters


class FinchClusterer:
    """First-neighbour clustering (the paper's): no number of clusters to choose; the usual choice."""

    name = "finch"

    class Settings(BaseSettings):
        min_clusters: int = Field(10, ge=1, description="take the coarsest partition that still has this many clusters")

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings) -> Clusters:
        """Group cells whose affinity rows agree.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w), N = h * w, row-major.

        Returns:
            labels int64 (h, w), numbered in raster order; the merge threshold is the largest distance bridged to make
            the chosen partition, None where that is the first one.

        Source: Sarfraz et al., CVPR 2019, algorithm 1; the KL distance and the choice of the partition are
        ConceptExpress (Hao et al., ECCV 2024), section 4.1. Where no partition sits on the boundary of `min_clusters`:
        `uce.core.localisation.choose_partition`.
        """
        import torch

        from uce.core import Clusters
        from uce.core.localisation import choose_partition, finch_partitions

        partition = choose_partition(finch_partitions(attention.affinity.cpu().numpy()), settings.min_clusters)
        labels = torch.from_numpy(partition.labels).reshape(attention.grid)
        return Clusters(labels=labels, merge_threshold=partition.threshold)
