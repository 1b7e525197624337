"""A wrapper that changes results, and therefore is no entry point: it works where `--plugin` names it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import uce

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Clusters, Picture

COUNT, COMPACTNESS = 200, 5.0


class SnapToSuperpixels:
    """Moves the borders of any clusterer's clusters to those of superpixels: for pictures with clear colours."""

    name = "snap-to-superpixels"

    @uce.hookimpl(wrapper=True)
    def uce_cluster(self, attention: AttentionMaps, image: Picture | None) -> Generator[None, Clusters, Clusters]:
        """Give all cells of a superpixel the label that most of them have; -1 (unassigned) counts as one."""
        clusters = yield
        import numpy as np
        import torch

        from uce_superpixels.regions import superpixels

        labels = clusters.labels.cpu().numpy().copy()
        regions = superpixels(attention, image, COUNT, COMPACTNESS)
        for region in range(int(regions.max()) + 1):
            names, votes = np.unique(labels[regions == region], return_counts=True)
            labels[regions == region] = names[votes.argmax()]
        if labels.max() < 0:  # every cluster was outvoted: better none moved than none left
            return clusters
        return replace(clusters, labels=torch.from_numpy(labels))
