"""Agglomerative clustering on distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters

SEED = 0


class HierarchicalClusterer:
    """Agglomerative clustering in Hellinger space: connected regions, nothing random; for things of one piece."""

    name = "hierarchical"

    class Settings(BaseSettings):
        clusters: int | None = Field(
            None,
            ge=1,
            description="number of clusters, besides the background where that is known; default: the best silhouette "
            "among 2 to `most`",
        )
        most: int = Field(16, ge=2, le=256, description="largest number of clusters to try where none is given")
        linkage: Literal["ward", "average", "complete"] = Field("ward", description="which two clusters join next")
        connected: bool = Field(True, description="join only clusters that touch (4-neighbours)")
        dimensions: int = Field(32, ge=1, description="principal axes to cluster in")

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings) -> Clusters:
        """Join the two closest clusters again and again, then cut the tree.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w).

        Returns:
            labels int64 (h, w); merge threshold: how wide the widest cluster is.

        The number of clusters, where not given, has the highest simplified silhouette (`uce.core.localisation.points`).
        """
        import torch

        from uce.core import Clusters
        from uce.core.localisation import (
            best_count,
            hellinger_coordinates,
            in_raster_order,
            num_distinct,
            widest_cluster,
        )

        affinity = attention.affinity.cpu().numpy()
        points = hellinger_coordinates(affinity, settings.dimensions, SEED)
        distinct = num_distinct(points)
        if distinct == 1:
            labels = in_raster_order([0] * len(points))
        else:
            tree = _tree(points, attention.grid, settings.linkage, settings.connected)
            if settings.clusters is not None:
                labels = _cut(tree, min(settings.clusters + attention.backgrounds, len(points)))
            else:
                most = min(settings.most, max(2, len(points) - 1))
                labels = best_count(points, range(2, most + 1), lambda count: _cut(tree, count))
        return Clusters(
            labels=torch.from_numpy(labels).reshape(attention.grid),
            merge_threshold=widest_cluster(affinity, labels),
        )


def _tree(points: npt.NDArray[Any], grid: tuple[int, int], linkage: str, connected: bool) -> npt.NDArray[np.int64]:
    """Which two nodes join at every step, (N - 1, 2); node N + i is what step i made."""
    import numpy as np
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.feature_extraction.image import grid_to_graph

    from uce.core.localisation import quietly

    neighbours = grid_to_graph(*grid) if connected else None
    method = AgglomerativeClustering(1, linkage=linkage, connectivity=neighbours, compute_full_tree=True)
    quietly(lambda: method.fit(points))
    return np.asarray(method.children_, np.int64)


def _cut(tree: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Labels (N,) after all but the last `count` - 1 steps."""
    import numpy as np

    from uce.core.localisation import in_raster_order

    num = len(tree) + 1
    root = np.arange(2 * num - 1)
    for step in range(len(tree) - 1, -1, -1):  # from the top: a node belongs to the kept node above it
        if step < num - count:
            root[tree[step]] = root[num + step]
    return in_raster_order(root[:num])
