"""What stands out, cut where little attention is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters, Context, Picture

    Floats = npt.NDArray[np.float64]
    Cells = npt.NDArray[np.int64]
    Masks = npt.NDArray[np.bool_]

FLAT = 1e-6
DEEPEST = 6
FAR = 2.5  # reaches; what is farther apart counts as if background were between
USUAL = 0.02  # of the picture, the piece that `cost` is about


class NormalizedCutsClusterer:
    """What is salient, cut into things where attention is weak: one cluster per thing, no background."""

    name = "normalized-cuts"

    class Settings(BaseSettings):
        cost: float = Field(
            0.0275,
            ge=0,
            le=2,
            description="cut off a piece of 2% of the picture where that loses at most this share of the attention; "
            "higher: more things",
        )
        growth: float = Field(
            0.6, ge=0, le=2, description="the larger a piece, the dearer its cut may be: the power; 0: always the same"
        )
        gap: float = Field(
            2.0, ge=0, le=10, description="how much background between two cells loosens them; 0: not at all"
        )
        reach: float = Field(
            0.125, gt=0, le=4, description="how far apart cells hold each other, as a share of the grid's longer side"
        )
        threshold: float = Field(
            0.8, ge=0, le=4, description="foreground: more salient than this many times Otsu's threshold"
        )
        smallest: float = Field(0.004, ge=0, le=1, description="least share of the picture's cells that is a thing")
        faintest: float = Field(
            0.65, ge=0, le=1, description="drop things less salient than this share of the most salient one"
        )
        outline: float = Field(
            0.5, ge=0, le=1, description="drop what has no edge along more than this share of its outline"
        )

    @hookimpl
    def uce_cluster(
        self, attention: AttentionMaps, image: Picture | None, settings: Settings, context: Context
    ) -> Clusters:
        """Take the salient cells; cut each connected part in two, and the pieces again, while a cut costs little.

        Salient means: what a cell attends to is salient, which is clearer than the cell's own saliency (it is finer,
        and the gap between two things attends to the background). The weights of the graph are the symmetrised
        affinity times a Gaussian of the distance on the grid, so that two alike things side by side hold each other
        only where they touch, and a narrow neck is cheap to cut; and less where a pixel between two cells looks like
        the background (`gap`), so that a gap narrower than a cell counts. A cut may cost
        cost * (s / 0.02) ** growth, where s is the smaller side's share of the picture: small pieces that come off
        easily are parts more often than things. What is bounded by nothing in the picture (`outline`) is background.

        Args:
            attention: affinity (N, N), rows sum to 1; saliency and grid (h, w).
            image: the picture, whose padding is no foreground. None: bare maps, all cells count, and `gap` and
                `outline` do nothing.

        Returns:
            labels int64 (h, w) in raster order, -1 for the background; one cluster of all cells where the saliency is
            the same everywhere. Merge threshold 0: clusters are things, not parts.

        Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000, section 3; Otsu, "A Threshold
        Selection Method from Gray-Level Histograms", 1979; `growth`, `gap` and `outline` are our own. What else was
        measured: docs/benchmarks.md.
        """
        import numpy as np
        import torch

        from uce.core import Clusters
        from uce.core.localisation import colours, in_raster_order

        affinity = attention.affinity.cpu().numpy().astype(np.float64)
        saliency = attention.saliency.cpu().numpy().astype(np.float64)
        shown = np.ones(attention.grid, np.bool_) if image is None else image.valid(attention.grid).numpy()
        seen = None if image is None else colours(image, attention.grid)
        foreground = _foreground(affinity, saliency, shown, settings.threshold)
        weights = _weights(affinity, foreground, seen, settings)
        pieces = _pieces(weights, foreground, int(shown.sum()), settings, context.derived_seed("cuts") % 2**32)
        if seen is not None:
            pieces = _bounded(pieces, seen, foreground, settings.outline)
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


def _weights(
    affinity_NN: Floats, foreground_hw: Masks, colours_HW3: Floats | None, settings: NormalizedCutsClusterer.Settings
) -> Callable[[Cells], Floats]:
    """What gives the graph's weights between some cells of the foreground."""
    import numpy as np

    from uce.core.localisation import background_likeness, gaps

    height, width = foreground_hw.shape
    reach = settings.reach * max(height, width)
    cells = np.flatnonzero(foreground_hw)
    where = np.full(foreground_hw.size, -1)
    where[cells] = np.arange(len(cells))
    loose = None
    if colours_HW3 is not None and settings.gap > 0:
        likeness = background_likeness(colours_HW3, foreground_hw)
        loose = np.exp(-settings.gap * gaps(likeness, cells, width, FAR * reach))

    def weights(some: Cells) -> Floats:
        block = affinity_NN[np.ix_(some, some)]
        rows, columns = some // width, some % width
        apart = (rows[:, None] - rows[None]) ** 2 + (columns[:, None] - columns[None]) ** 2
        held = (block + block.T) / 2 * np.exp(-apart / (2 * reach**2))
        return np.asarray(held if loose is None else held * loose[np.ix_(where[some], where[some])])

    return weights


def _pieces(
    weights: Callable[[Cells], Floats],
    foreground_hw: Masks,
    shown: int,
    settings: NormalizedCutsClusterer.Settings,
    seed: int,
) -> list[Cells]:
    """Cells (indexes into the grid) of every thing."""
    import numpy as np

    from uce.core.localisation import cheapest_cut

    grid = foreground_hw.shape
    least = max(1, round(settings.smallest * shown))

    def cut(cells: Cells, depth: int) -> list[Cells]:
        if len(cells) < 2 * least or len(cells) < 2 or depth == 0:
            return [cells]
        graph = weights(cells)
        cost, side = cheapest_cut(graph, seed)
        share = min(int(side.sum()), int((~side).sum())) / shown
        if cost >= settings.cost * (share / USUAL) ** settings.growth:
            return [cells]
        parts = _parts(cells[side], grid) + _parts(cells[~side], grid)
        large = [part for part in parts if len(part) >= least]
        if len(large) < 2:
            return [cells]
        homes = [np.isin(cells, part) for part in large]
        for part in parts:  # crumbs go to the part that they hold to most
            if len(part) < least:
                crumb = np.isin(cells, part)
                homes[int(np.argmax([graph[np.ix_(crumb, home)].sum() for home in homes]))] |= crumb
        return [piece for home in homes for piece in cut(cells[home], depth - 1)]

    whole = _parts(np.flatnonzero(foreground_hw), grid)
    large = [part for part in whole if len(part) >= least] or [max(whole, key=len)]
    return [piece for part in large for piece in cut(part, DEEPEST)]


def _parts(cells: Cells, grid: tuple[int, ...]) -> list[Cells]:
    """The 4-connected parts of some cells."""
    import numpy as np

    from uce.core.localisation import components

    mask = np.zeros(grid[0] * grid[1], np.bool_)
    mask[cells] = True
    labels, number = components(mask.reshape(grid))
    return [np.flatnonzero(labels.ravel() == part) for part in range(1, number + 1)]


def _bounded(pieces: list[Cells], colours_HW3: Floats, foreground_hw: Masks, most: float) -> list[Cells]:
    """Pieces with edges along their outlines; the one with most of them where there are none."""
    from uce.core.localisation import cell_colours, open_outline

    means = cell_colours(colours_HW3, foreground_hw.shape)
    shares = [open_outline(means, cells, foreground_hw) for cells in pieces]
    return [cells for cells, share in zip(pieces, shares, strict=True) if share <= max(most, min(shares))]


def _bright(pieces: list[Cells], saliency_hw: Floats, share: float) -> list[Cells]:
    means = [float(saliency_hw.ravel()[cells].mean()) for cells in pieces]
    return [cells for cells, mean in zip(pieces, means, strict=True) if mean >= share * max(means)]
