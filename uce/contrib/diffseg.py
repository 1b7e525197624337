"""DiffSeg: attention maps merged into segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters


class DiffSegClusterer:
    """DiffSeg: merges attention maps from a grid of anchors; to segment whole scenes by one threshold."""

    name = "diffseg"

    class Settings(BaseSettings):
        """Defaults are the paper's."""

        anchors: int = Field(16, ge=1, le=128, description="anchors per side of the grid from which maps are merged")
        threshold: float = Field(
            1.0, gt=0, description="symmetric KL distance below which maps are merged; larger gives fewer segments"
        )
        iterations: int = Field(3, ge=1, le=100, description="rounds of merging, the first one included")

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, settings: Settings) -> Clusters:
        """Merge maps that agree, then give every cell to the merged map that is strongest there.

        The first round averages, for every anchor, all rows within the threshold of the anchor's row. Each later round
        takes the first map that is left, averages it with all maps within the threshold, and takes those out.

        Args:
            attention: affinity (N, N), rows sum to 1; grid (h, w).

        Returns:
            labels int64 (h, w), numbered in raster order; merge threshold: `threshold`.

        Source: Tian, Aggarwal, Colaco, Kira, Gonzalez-Franco, "Diffuse, Attend, and Segment: Unsupervised Zero-Shot
        Segmentation using Stable Diffusion", CVPR 2024, section 3 (distance: equation 3; merging: algorithm 1;
        non-maximum suppression: equation 6). Here segments are decided on the grid, not on enlarged maps, and the
        aggregated attention is the extractor's.
        """
        import numpy as np
        import torch

        from uce.core import Clusters
        from uce.core.localisation import in_raster_order

        affinity = attention.affinity.cpu().numpy()
        maps = _gathered(affinity, _anchors(attention.grid, settings.anchors), settings.threshold)
        for _ in range(settings.iterations - 1):
            before = len(maps)
            maps = _merged(maps, settings.threshold)
            if len(maps) == before:
                break
        labels = in_raster_order(np.asarray(maps).argmax(axis=0))
        return Clusters(torch.from_numpy(labels).reshape(attention.grid), merge_threshold=settings.threshold)


def _anchors(grid: tuple[int, int], side: int) -> npt.NDArray[np.int64]:
    """Cells evenly spread over the grid, at most `side` per side, as indexes into its N cells."""
    import numpy as np

    rows, columns = (((np.arange(num := min(side, length)) + 0.5) * length / num).astype(np.int64) for length in grid)
    return np.asarray((rows[:, None] * grid[1] + columns[None]).ravel())


def _gathered(affinity: npt.NDArray[Any], anchors: npt.NDArray[np.int64], threshold: float) -> npt.NDArray[Any]:
    """The mean row around every anchor, float64 (anchors, N)."""
    import numpy as np

    from uce.core.localisation import symmetric_kl

    near = (symmetric_kl(affinity[anchors], affinity) < threshold).astype(affinity.dtype)
    near[np.arange(len(anchors)), anchors] = 1
    return np.asarray((near @ affinity).astype(np.float64) / near.sum(axis=1, keepdims=True))


def _merged(maps: npt.NDArray[Any], threshold: float) -> npt.NDArray[Any]:
    """One greedy round: each map that is left takes all others within the threshold with it."""
    import numpy as np

    from uce.core.localisation import symmetric_kl

    near = symmetric_kl(maps) < threshold
    np.fill_diagonal(near, True)
    left, found = np.ones(len(maps), np.bool_), []
    for index in range(len(maps)):
        if left[index]:
            group = near[index] & left
            found.append(maps[group].mean(axis=0))
            left &= ~group
    return np.stack(found)
