"""Normalised cuts of the affinity itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters, Context

FLAT = 1e-6


class SpectralClusterer:
    """Spectral clustering of the affinity as a graph: few clusters, about one per thing; for things of any shape."""

    name = "spectral"

    class Settings(BaseSettings):
        clusters: int | None = Field(
            None,
            ge=1,
            description="number of clusters, besides the background where that is known; default: where the "
            "eigenvalues fall most, from 2 to `most`",
        )
        most: int = Field(16, ge=2, le=256, description="largest number of clusters to try where none is given")
        restarts: int = Field(3, ge=1, description="random starts, of which the tightest clustering counts")

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings, context: Context) -> Clusters:
        """k-means on the leading eigenvectors of the normalised, symmetrised affinity.

        The number of clusters, where not given, is the eigengap's: the k from 2 to `most` after which the eigenvalues
        fall most. With k nearly separate groups k eigenvalues lie close to 1, and the next one does not.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w).

        Returns:
            labels int64 (h, w); all 0 where all rows are the same. Merge threshold: how wide the widest cluster is.

        Source: Ng, Jordan, Weiss, "On Spectral Clustering", NIPS 2001; eigengap: von Luxburg, "A tutorial on spectral
        clustering", 2007, section 8.3.
        """
        import numpy as np
        import torch

        from uce.core import Clusters
        from uce.core.localisation import widest_cluster

        affinity = attention.affinity.cpu().numpy()
        num, seed = len(affinity), context.derived_seed("spectral") % 2**32
        wanted = None if settings.clusters is None else settings.clusters + attention.backgrounds
        values, vectors = _leading(affinity, min(max(settings.most, wanted or 0) + 1, num), seed)
        if num == 1 or values[1] < FLAT:
            labels = np.zeros(num, np.int64)
        else:
            count = min(wanted or _eigengap(values), num)
            labels = _kmeans(vectors[:, :count], count, settings.restarts, seed)
        return Clusters(
            labels=torch.from_numpy(labels).reshape(attention.grid),
            merge_threshold=widest_cluster(affinity, labels),
        )


def _leading(affinity: npt.NDArray[Any], count: int, seed: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The largest eigenvalues, falling, float64 (count,), of D^-1/2 W D^-1/2 with W = (A + A^T) / 2, and their vectors
    (N, count)."""
    import numpy as np

    from uce.core.localisation import leading, normalized

    return leading(normalized((affinity + affinity.T).astype(np.float64) / 2)[0], count, seed)


def _eigengap(values: npt.NDArray[Any]) -> int:
    """The number of values, two or more, after which they fall most; of equal falls the first."""
    import numpy as np

    falls = np.round(values[1:-1] - values[2:], 9)
    return 2 + int(falls.argmax()) if len(falls) else len(values)


def _kmeans(vectors_Nk: npt.NDArray[Any], count: int, restarts: int, seed: int) -> npt.NDArray[np.int64]:
    """Labels (N,) in raster order from the eigenvectors' rows, each of length 1."""
    import numpy as np
    from sklearn.cluster import KMeans

    from uce.core.localisation import in_raster_order, num_distinct, quietly

    lengths = np.linalg.norm(vectors_Nk, axis=1, keepdims=True)
    points = np.round(vectors_Nk / np.maximum(lengths, 1e-12), 6)
    method = KMeans(min(count, num_distinct(points)), n_init=restarts, random_state=seed)
    return in_raster_order(quietly(lambda: method.fit_predict(points)))
