"""Superpixels, merged by what their cells attend to.

Legend: h, w cells of the grid, N = h * w, row-major; R regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

import uce

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters, Picture


class SuperpixelClusterer:
    """SLIC superpixels of the picture, merged by affinity: for things whose outlines are clear in colour."""

    name = "superpixels"

    class Settings(uce.Settings):
        count: int = Field(120, ge=1, le=10_000, description="superpixels to begin with, about")
        compactness: float = Field(
            5.0, gt=0, le=1000, description="how square superpixels are; small values follow colours more closely"
        )
        threshold: float = Field(
            2.0, ge=0, description="touching regions nearer than this (symmetric KL of their maps) become one"
        )

    @uce.hookimpl
    def uce_cluster(self, attention: AttentionMaps, image: Picture | None, settings: Settings) -> Clusters:
        """Join the two nearest regions that touch, until no two are near enough.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w).
            image: None on bare maps; then the affinity alone makes the superpixels.

        Returns:
            labels int64 (h, w), every cell assigned; `threshold` as merge threshold, for refiners that merge.

        Source: SLIC is Achanta et al., TPAMI 2012; the distance is that of ConceptExpress (Hao et al., ECCV 2024).
        """
        import torch

        from uce.core import Clusters
        from uce_superpixels.regions import compact, superpixels

        labels = superpixels(attention, image, settings.count, settings.compactness)
        labels = compact(merged(labels, attention.affinity.cpu().double().numpy(), settings.threshold))
        return Clusters(labels=torch.from_numpy(labels), merge_threshold=settings.threshold)


def merged(labels: npt.NDArray[np.int64], affinity: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.int64]:
    """Labels (h, w) with near, touching regions joined; a joined region has the mean map of its cells."""
    import numpy as np

    num = int(labels.max()) + 1
    flat = labels.flatten()
    sizes = np.bincount(flat, minlength=num).astype(np.float64)
    maps = np.zeros((num, affinity.shape[1]))
    np.add.at(maps, flat, affinity)
    maps /= sizes[:, None]
    touching = _touching(labels, num)
    distances = np.where(touching, _distances(maps), np.inf)
    while num > 1:
        first, second = divmod(int(distances.argmin()), len(sizes))
        if not distances[first, second] <= threshold:
            break
        flat[flat == second] = first
        total = sizes[first] + sizes[second]
        maps[first] = (sizes[first] * maps[first] + sizes[second] * maps[second]) / total
        sizes[first], num = total, num - 1
        touching[first] |= touching[second]
        touching[second] = touching[:, second] = touching[first, first] = False
        touching[:, first] = touching[first]
        distances[second] = distances[:, second] = np.inf
        to_first = np.where(touching[first], _distances(maps, maps[first : first + 1])[:, 0], np.inf)
        distances[first] = distances[:, first] = to_first
    return flat.reshape(labels.shape)


def _distances(rows: npt.NDArray[np.float64], others: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Symmetric Kullback-Leibler distance of every row to every other, (KL(p|q) + KL(q|p)) / 2; zeros cost little."""
    import numpy as np

    rows = np.maximum(rows, 1e-12)
    others = rows if others is None else np.maximum(others, 1e-12)
    logs, other_logs = np.log(rows), np.log(others)
    own, other_own = (rows * logs).sum(axis=1), (others * other_logs).sum(axis=1)
    distances: npt.NDArray[np.float64] = own[:, None] + other_own[None, :] - rows @ other_logs.T - logs @ others.T
    return np.maximum(distances, 0) / 2


def _touching(labels: npt.NDArray[np.int64], num: int) -> npt.NDArray[np.bool_]:
    """Which regions have cells side by side, bool (num, num), False on the diagonal."""
    import numpy as np

    found = np.zeros((num, num), np.bool_)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        found[one, other] = found[other, one] = True
    np.fill_diagonal(found, False)
    return found
