"""Density clustering on distributions."""

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
SHARE = 32
KNOWN_SHARE = 100


class HdbscanClusterer:
    """HDBSCAN in Hellinger space: finds the number of things by itself; for clear things on a busy background."""

    name = "hdbscan"

    class Settings(BaseSettings):
        smallest: int | None = Field(
            None,
            ge=2,
            description="fewest cells of a cluster; default: 1/32 of the grid, 1/100 where the foreground is known, at "
            "least 4",
        )
        samples: int = Field(3, ge=1, description="neighbours that make a place dense; more leaves more cells out")
        method: Literal["eom", "leaf"] = Field(
            "eom", description="eom: the most persistent clusters of the tree; leaf: its finest ones"
        )
        assign: bool | None = Field(
            None,
            description="give cells that are left out to the cluster with the nearest mean; default: only where the "
            "foreground is known",
        )
        place: float | None = Field(
            None,
            ge=0,
            le=100,
            description="how much a cell's place counts beside its attention; default: 0, 1 with a known foreground",
        )
        dimensions: int = Field(16, ge=1, description="principal axes to cluster in")

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings) -> Clusters:
        """HDBSCAN on the square roots of the affinity rows.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w).

        Returns:
            labels int64 (h, w), -1 where a cell is in no dense region; all 0 where no region is denser than another.
            Merge threshold: how wide the widest cluster is.

        Source: Campello, Moulavi, Sander, PAKDD 2013; McInnes, Healy, Astels, JOSS 2017 (the `hdbscan` package).
        """
        import numpy as np
        import torch

        from uce.core import Clusters
        from uce.core.localisation import hellinger_coordinates, in_raster_order, mean_rows, places, widest_cluster

        affinity = attention.affinity.cpu().numpy()
        known = attention.foreground is not None
        points = hellinger_coordinates(affinity, settings.dimensions, SEED).astype(np.float64)
        place = float(known) if settings.place is None else settings.place
        if place > 0:
            points = np.hstack([points, place * places(attention.grid)])
        smallest = settings.smallest or max(4, len(points) // (KNOWN_SHARE if known else SHARE))
        labels = _dense(points, smallest, settings.samples, settings.method)
        if (labels < 0).all():
            labels = np.zeros(len(points), np.int64)
        elif known if settings.assign is None else settings.assign:
            means = mean_rows(points, labels, int(labels.max()) + 1)
            nearest = np.linalg.norm(points[:, None] - means[None], axis=2).argmin(axis=1)
            labels = in_raster_order(np.where(labels < 0, nearest, labels))
        return Clusters(
            labels=torch.from_numpy(labels).reshape(attention.grid),
            merge_threshold=widest_cluster(affinity, labels),
        )


def _dense(points: npt.NDArray[Any], smallest: int, samples: int, method: str) -> npt.NDArray[np.int64]:
    """HDBSCAN's labels (N,), -1 for noise; groups of equal points where no two others differ."""
    import numpy as np

    from uce.core.localisation import in_raster_order, num_distinct, quietly

    num, distinct = len(points), num_distinct(points)
    if distinct == 1 or num < 2 * smallest:
        return np.full(num, -1, np.int64)
    if distinct <= num // smallest:  # block-constant: every distance is 0 or large, density says nothing
        _, blocks = np.unique(points, axis=0, return_inverse=True)
        return in_raster_order(blocks)

    from hdbscan import HDBSCAN

    clusterer = HDBSCAN(
        min_cluster_size=smallest,
        min_samples=min(samples, num - 1),
        cluster_selection_method=method,
        approx_min_span_tree=False,
        core_dist_n_jobs=1,
    )
    return in_raster_order(quietly(lambda: clusterer.fit_predict(points)))
