"""What stands out, cut where little attention is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Clusters, Context, Picture
    from uce.core.localisation import Cells, Floats, Masks, Weights

DEEPEST = 6
USUAL = 0.02  # of the picture, the piece that `cost` is about
LARGE = 0.03  # of the picture, the least side of things that cross
APART = 15.0  # difference of their colours, CIELAB with lightness halved
SHORT = 1.5  # the line that joins them, in units of the smaller side's own (the root of its cells)


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
        crossing: float = Field(
            2.5,
            ge=1,
            le=100,
            description="how many times as much a cut may cost between large sides of different colours that a short "
            "line joins: things that cross; 1: no more than any",
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
        easily are parts more often than things; and `crossing` times that where two large sides of different colours
        are joined along a short line only, as things that cover each other are. What is bounded by nothing in the
        picture (`outline`) is background.

        Args:
            attention: affinity (N, N), rows sum to 1; saliency and grid (h, w).
            image: the picture, whose padding is no foreground. None: bare maps, all cells count, and `gap`,
                `crossing` and `outline` do nothing.

        Returns:
            labels int64 (h, w) in raster order, -1 for the background; one cluster of all cells where the saliency is
            the same everywhere. Merge threshold 0: clusters are things, not parts.

        Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000, section 3; Otsu, "A Threshold
        Selection Method from Gray-Level Histograms", 1979; `growth`, `crossing`, `gap` and `outline` are our own. What
        else was measured: docs/benchmarks.md.
        """
        import numpy as np
        import torch

        from uce.core import Clusters
        from uce.core.localisation import (
            bonds,
            bounded,
            bright,
            cell_colours,
            colours,
            in_raster_order,
            salient_cells,
            shown_cells,
        )

        affinity = attention.raw.cpu().numpy().astype(np.float64)
        saliency = attention.saliency.cpu().numpy().astype(np.float64)
        shown = shown_cells(attention, image)
        seen = None if image is None else colours(image, attention.grid)
        if attention.foreground is None:
            foreground = salient_cells(affinity, saliency, shown, settings.threshold)
        else:
            foreground = attention.foreground.cpu().numpy()
        weights = bonds(affinity, foreground, seen, settings.reach, settings.gap)
        means = None if seen is None else cell_colours(seen, attention.grid)
        pieces = _pieces(weights, foreground, means, int(shown.sum()), settings, context.derived_seed("cuts") % 2**32)
        if seen is not None:
            pieces = bounded(pieces, seen, foreground, settings.outline)
        kept = bright(pieces, saliency, settings.faintest)
        labels = np.full(saliency.size, -1, np.int64)
        for number, cells in enumerate(kept):
            labels[cells] = number
        return Clusters(
            labels=torch.from_numpy(in_raster_order(labels)).reshape(attention.grid),
            merge_threshold=0.0,
        )


def _pieces(
    weights: Weights,
    foreground_hw: Masks,
    colours_hw3: Floats | None,
    shown: int,
    settings: NormalizedCutsClusterer.Settings,
    seed: int,
) -> list[Cells]:
    """Cells (indexes into the grid) of every thing."""
    import numpy as np

    from uce.core.localisation import cheapest_cut, parts_of

    grid = foreground_hw.shape
    least = max(1, round(settings.smallest * shown))

    def cut(cells: Cells, depth: int) -> list[Cells]:
        if len(cells) < 2 * least or len(cells) < 2 or depth == 0:
            return [cells]
        graph = weights(cells)
        cost, side = cheapest_cut(graph, seed)
        share = min(int(side.sum()), int((~side).sum())) / shown
        allowed = settings.cost * (share / USUAL) ** settings.growth
        if colours_hw3 is not None and share > LARGE and _cross(cells[side], cells[~side], colours_hw3):
            allowed *= settings.crossing
        if cost >= allowed:
            return [cells]
        parts = parts_of(cells[side], grid) + parts_of(cells[~side], grid)
        large = [part for part in parts if len(part) >= least]
        if len(large) < 2:
            return [cells]
        homes = [np.isin(cells, part) for part in large]
        for part in parts:  # crumbs go to the part that they hold to most
            if len(part) < least:
                crumb = np.isin(cells, part)
                homes[int(np.argmax([graph[np.ix_(crumb, home)].sum() for home in homes]))] |= crumb
        return [piece for home in homes for piece in cut(cells[home], depth - 1)]

    whole = parts_of(np.flatnonzero(foreground_hw), grid)
    large = [part for part in whole if len(part) >= least] or [max(whole, key=len)]
    return [piece for part in large for piece in cut(part, DEEPEST)]


def _cross(first: Cells, second: Cells, colours_hw3: Floats) -> bool:
    """Whether two sides of a piece are of different colours and joined along a short line."""
    import numpy as np

    means = colours_hw3.reshape(-1, 3)
    if np.linalg.norm(means[first].mean(axis=0) - means[second].mean(axis=0)) <= APART:
        return False
    sides = np.zeros(colours_hw3.shape[:2], np.int64)
    sides.ravel()[first], sides.ravel()[second] = 1, 2
    joined = (sides[1:] * sides[:-1] == 2).sum() + (sides[:, 1:] * sides[:, :-1] == 2).sum()
    return bool(joined < SHORT * np.sqrt(min(len(first), len(second))))
