"""What is foreground, what holds it together and what bounds it: shared by the foreground step and by clusterers.

Legend: N cells of the grid, n of the foreground; h, w grid; P pixels per cell and axis (see `surroundings.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from uce.core.localisation.surroundings import background_likeness, cell_colours, colours, gaps, open_outline

if TYPE_CHECKING:
    from uce.core.flow.data import AttentionMaps
    from uce.core.flow.picture import Picture

Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]
Weights = Callable[[Cells], Floats]

FLAT = 1e-6
FAR = 2.5  # reaches; what is farther apart counts as if background were between
LATTICE = 32  # cells a side in which the picture is looked at for edges, whatever the model's grid
STRONGEST = 8  # of the edges in it
UNEVEN = 1.0  # a difference of colour that every picture may have


def shown_cells(attention: AttentionMaps, image: Picture | None) -> Masks:
    """Cells that show the picture rather than padding, bool (h, w); all of bare maps."""
    return np.ones(attention.grid, np.bool_) if image is None else np.asarray(image.valid(attention.grid).numpy())


def salient_cells(affinity_NN: Floats, saliency_hw: Floats, shown_hw: Masks, threshold: float) -> Masks:
    """Cells that attend to what is salient, bool (h, w); all that show the picture where nothing stands out.

    What a cell attends to is clearer than its own saliency: it is finer, and the gap between two things attends to the
    background.

    Args:
        threshold: in units of Otsu's.

    Source: Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979.
    """
    from skimage.filters import threshold_otsu

    seen = (affinity_NN @ saliency_hw.ravel()).reshape(saliency_hw.shape)
    low, high = float(seen[shown_hw].min()), float(seen[shown_hw].max())
    if high - low <= FLAT:
        return shown_hw
    seen = (seen - low) / (high - low)
    found = shown_hw & (seen > threshold * threshold_otsu(seen[shown_hw]))
    return np.asarray(found) if found.any() else shown_hw


def bonds(affinity_NN: Floats, foreground_hw: Masks, colours_HW3: Floats | None, reach: float, gap: float) -> Weights:
    """What gives how much some cells of the foreground hold each other, float64 (n, n), symmetric.

    The symmetrised affinity times a Gaussian of the distance on the grid, so that two alike things side by side hold
    each other only where they touch; less where a pixel between two cells looks like the background, so that a gap
    narrower than a cell counts.

    Args:
        colours_HW3: as of `uce.core.localisation.surroundings.colours`; None: gaps are not looked for.
        reach: how far apart cells hold each other, as a share of the grid's longer side.
        gap: how much background between two cells loosens them; 0: not at all.
    """
    height, width = foreground_hw.shape
    far = reach * max(height, width)
    cells = np.flatnonzero(foreground_hw)
    where = np.full(foreground_hw.size, -1)
    where[cells] = np.arange(len(cells))
    loose = None
    if colours_HW3 is not None and gap > 0:
        likeness = background_likeness(colours_HW3, foreground_hw)
        loose = np.exp(-gap * gaps(likeness, cells, width, FAR * far))

    def weights(some: Cells) -> Floats:
        block = affinity_NN[np.ix_(some, some)]
        rows, columns = some // width, some % width
        apart = (rows[:, None] - rows[None]) ** 2 + (columns[:, None] - columns[None]) ** 2
        held = (block + block.T) / 2 * np.exp(-apart / (2 * far**2))
        return np.asarray(held if loose is None else held * loose[np.ix_(where[some], where[some])])

    return weights


def parts_of(cells: Cells, grid: tuple[int, ...]) -> list[Cells]:
    """The 4-connected parts of some cells (indexes into the grid)."""
    from uce.core.localisation.regions import components

    mask = np.zeros(grid[0] * grid[1], np.bool_)
    mask[cells] = True
    labels, number = components(mask.reshape(grid))
    return [np.flatnonzero(labels.ravel() == part) for part in range(1, number + 1)]


def bounded(pieces: list[Cells], colours_HW3: Floats, foreground_hw: Masks, most: float) -> list[Cells]:
    """Pieces with no edge along at most this share of their outlines; the one with most edges where there are none."""
    means = cell_colours(colours_HW3, foreground_hw.shape)
    shares = [open_outline(means, cells, foreground_hw) for cells in pieces]
    return [cells for cells, share in zip(pieces, shares, strict=True) if share <= max(most, min(shares))]


def bright(pieces: list[Cells], saliency_hw: Floats, share: float) -> list[Cells]:
    """Pieces at least this share as salient as the most salient one."""
    means = [float(saliency_hw.ravel()[cells].mean()) for cells in pieces]
    return [cells for cells, mean in zip(pieces, means, strict=True) if mean >= share * max(means)]


def walked(weights_nn: Floats, steps: int) -> Floats:
    """Where a random walk over the weights is after some steps, float64 (n, n), each row a distribution.

    A walk forgets within a thing where it began and seldom leaves it, so that the rows of one thing's cells become
    alike and those of different things stay apart, however large or oddly shaped the things are.

    Source: Coifman and Lafon, "Diffusion maps", 2006.
    """
    stay = np.maximum(weights_nn, 0) + np.diag(np.full(len(weights_nn), np.finfo(np.float64).tiny))
    return np.asarray(np.linalg.matrix_power(stay / stay.sum(axis=1, keepdims=True), steps))


def edge_contrast(image: Picture) -> float:
    """How far the picture's strongest edges stand out from its usual differences of colour; 0 for a uniform one.

    Between cells two apart: the mean of the largest differences over the mean of all. Noise gives 2.9 at most,
    gradients 1.7, pictures of things 4.4 and more (docs/stages/foreground.md).
    """
    means = cell_colours(colours(image, (LATTICE, LATTICE)), (LATTICE, LATTICE))
    down, across = means[2:] - means[:-2], means[:, 2:] - means[:, :-2]
    apart = np.sort(np.concatenate([np.linalg.norm(one, axis=2).ravel() for one in (down, across)]))
    return float(apart[-STRONGEST:].mean() / (apart.mean() + UNEVEN))
