"""k-means on distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters, Context


class KMeansClusterer:
    """k-means in Hellinger space: when you know how many parts there are, or want compact clusters."""

    name = "kmeans"

    class Settings(BaseSettings):
        clusters: int | None = Field(
            None,
            ge=1,
            description="number of clusters, besides the background where that is known; default: the best silhouette "
            "among 2 to `most`",
        )
        most: int = Field(16, ge=2, le=256, description="largest number of clusters to try where none is given")
        dimensions: int = Field(32, ge=1, description="principal axes to cluster in")
        restarts: int = Field(3, ge=1, description="random starts, of which the tightest clustering counts")

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings, context: Context) -> Clusters:
        """Lloyd's k-means on the square roots of the affinity rows.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w).

        Returns:
            labels int64 (h, w), fewer than asked for where fewer rows differ; merge threshold: how wide the widest
            cluster is.

        The number of clusters, where not given, has the highest simplified silhouette (`uce.core.localisation.points`).
        """
        import torch
        from sklearn.cluster import KMeans

        from uce.core import Clusters
        from uce.core.localisation import (
            best_count,
            hellinger_coordinates,
            in_raster_order,
            num_distinct,
            quietly,
            widest_cluster,
        )

        affinity = attention.affinity.cpu().numpy()
        seed = context.derived_seed("kmeans") % 2**32
        points = hellinger_coordinates(affinity, settings.dimensions, seed)
        distinct = num_distinct(points)

        def labels_for(count: int) -> npt.NDArray[np.int64]:
            method = KMeans(count, n_init=settings.restarts, random_state=seed)
            labels: Any = quietly(lambda: method.fit_predict(points))
            return in_raster_order(labels)

        if settings.clusters is not None:
            labels = labels_for(min(settings.clusters + attention.backgrounds, distinct))
        else:
            most = min(settings.most, distinct, max(2, len(points) - 1))
            labels = best_count(points, range(2, most + 1), labels_for)
        return Clusters(
            labels=torch.from_numpy(labels).reshape(attention.grid),
            merge_threshold=widest_cluster(affinity, labels),
        )
