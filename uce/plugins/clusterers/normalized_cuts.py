"""What stands out, cut where little attention is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core.hookspecs import hookimpl
from uce.core.settings import Settings as BaseSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core.context import Context
    from uce.core.data import AttentionMaps, Clusters
    from uce.core.picture import Picture

    Floats = npt.NDArray[np.float64]
    Masks = npt.NDArray[np.bool_]

FLAT = 1e-6
DEEPEST = 6


class NormalizedCutsClusterer:
    """What is salient, cut into things where attention is weak: one cluster per thing, no background."""

    name = "normalized-cuts"

    class Settings(BaseSettings):
        cost: float = Field(
            0.07, ge=0, le=2, description="cut where at most this share of the attention is lost; higher: more things"
        )
        reach: float = Field(
            0.125, gt=0, le=4, description="how far apart cells hold each other, as a share of the grid's longer side"
        )
        threshold: float = Field(
            1.0, ge=0, le=4, description="foreground: more salient than this many times Otsu's threshold"
        )
        smallest: float = Field(0.004, ge=0, le=1, description="least share of the picture's cells that is a thing")
        faintest: float = Field(
            0.65, ge=0, le=1, description="drop things less salient than this share of the most salient one"
        )

    @hookimpl
    def uce_cluster(
        self, attention: AttentionMaps, image: Picture | None, settings: Settings, context: Context
    ) -> Clusters:
        """Take the salient cells; cut each connected part in two, and the pieces again, while a cut costs little.

        Salient means: what a cell attends to is salient, which is clearer than the cell's own saliency (it is finer,
        and the gap between two things attends to the background). The weights of the graph are the symmetrised
        affinity times a Gaussian of the distance on the grid, so that two alike things side by side hold each other
        only where they touch, and a narrow neck is cheap to cut.

        Args:
            attention: affinity (N, N), rows sum to 1; saliency and grid (h, w).
            image: the picture, whose padding is no foreground. None: bare maps, all cells count.

        Returns:
            labels int64 (h, w) in raster order, -1 for the background; one cluster of all cells where the saliency is
            the same everywhere. Merge threshold 0: clusters are things, not parts.

        Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000, section 3; Otsu, "A Threshold
        Selection Method from Gray-Level Histograms", 1979. What else was measured: docs/benchmarks.md.
        """
        import numpy as np
        import torch

        from uce.core.coordinates import in_raster_order
        from uce.core.data import Clusters

        affinity = attention.affinity.cpu().numpy().astype(np.float64)
        saliency = attention.saliency.cpu().numpy().astype(np.float64)
        shown = np.ones(attention.grid, np.bool_) if image is None else image.valid(attention.grid).numpy()
        foreground = _foreground(affinity, saliency, shown, settings.threshold)
        least = max(1, round(settings.smallest * int(shown.sum())))
        pieces = _pieces(affinity, foreground, least, settings, context.derived_seed("cuts") % 2**32)
        kept = _bright(pieces, saliency, settings.faintest)
        labels = np.full(saliency.size, -1, np.int64)
        for number, cells in enumerate(kept):
            labels[cells] = number
        return Clusters(
            labels=torch.from_numpy(in_raster_order(labels)).reshape(attention.grid),
            merge_threshold=0.0,
        )


def _foreground(affinity_NN: Floats, saliency_hw: Floats, shown_hw: Masks, threshold: float) -> Masks:
    """Cells that attend to what is salient, bool (h, w); all that show the picture where nothing stands out."""
    import numpy as np
    from skimage.filters import threshold_otsu

    seen = (affinity_NN @ saliency_hw.ravel()).reshape(saliency_hw.shape)
    low, high = float(seen[shown_hw].min()), float(seen[shown_hw].max())
    if high - low <= FLAT:
        return shown_hw
    seen = (seen - low) / (high - low)
    found = shown_hw & (seen > threshold * threshold_otsu(seen[shown_hw]))
    return np.asarray(found) if found.any() else shown_hw


def _pieces(
    affinity_NN: Floats, foreground_hw: Masks, least: int, settings: NormalizedCutsClusterer.Settings, seed: int
) -> list[npt.NDArray[np.int64]]:
    """Cells (indexes into the grid) of every thing."""
    import numpy as np

    from uce.core.graph_cuts import cheapest_cut

    height, width = foreground_hw.shape
    reach = settings.reach * max(height, width)

    def weights(cells: npt.NDArray[np.int64]) -> Floats:
        block = affinity_NN[np.ix_(cells, cells)]
        rows, columns = cells // width, cells % width
        apart = (rows[:, None] - rows[None]) ** 2 + (columns[:, None] - columns[None]) ** 2
        return np.asarray((block + block.T) / 2 * np.exp(-apart / (2 * reach**2)))

    def cut(cells: npt.NDArray[np.int64], depth: int) -> list[npt.NDArray[np.int64]]:
        if len(cells) < 2 * least or len(cells) < 2 or depth == 0:
            return [cells]
        graph = weights(cells)
        cost, side = cheapest_cut(graph, seed)
        if cost >= settings.cost:
            return [cells]
        parts = _parts(cells[side], (height, width)) + _parts(cells[~side], (height, width))
        large = [part for part in parts if len(part) >= least]
        if len(large) < 2:
            return [cells]
        homes = [np.isin(cells, part) for part in large]
        for part in parts:  # crumbs go to the part that they hold to most
            if len(part) < least:
                crumb = np.isin(cells, part)
                homes[int(np.argmax([graph[np.ix_(crumb, home)].sum() for home in homes]))] |= crumb
        return [piece for home in homes for piece in cut(cells[home], depth - 1)]

    whole = _parts(np.flatnonzero(foreground_hw), (height, width))
    large = [part for part in whole if len(part) >= least] or [max(whole, key=len)]
    return [piece for part in large for piece in cut(part, DEEPEST)]


def _parts(cells: npt.NDArray[np.int64], grid: tuple[int, int]) -> list[npt.NDArray[np.int64]]:
    """The 4-connected parts of some cells."""
    import numpy as np

    from uce.core.masks import components

    mask = np.zeros(grid[0] * grid[1], np.bool_)
    mask[cells] = True
    labels, number = components(mask.reshape(grid))
    return [np.flatnonzero(labels.ravel() == part) for part in range(1, number + 1)]


def _bright(pieces: list[npt.NDArray[np.int64]], saliency_hw: Floats, share: float) -> list[npt.NDArray[np.int64]]:
    means = [float(saliency_hw.ravel()[cells].mean()) for cells in pieces]
    return [cells for cells, mean in zip(pieces, means, strict=True) if mean >= share * max(means)]
