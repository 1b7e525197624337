"""What a picture's own pixels say of a foreground: where they look like the background around it.

Legend: h, w grid; P pixels per cell and axis; N cells that are asked about.
Distances between colours are in CIELAB with lightness halved: a shadow is no thing.
Source: our own; that what lies between two points says whether they are one is the intervening contour of Leung and
Malik, "Contour Continuity in Region Based Image Segmentation", ECCV 1998.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from uce.core.flow.picture import Picture

Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

P = 4
LIGHTNESS = 0.5
ALIKE = 7.0  # distance at which a colour still looks like another
ACROSS = 40.0  # what the picture's whole side counts as, in units of colour: likeness is to what is near
SAME = 5.0  # less than this is no edge
KNOWN = 6000  # pixels of background that others are held against, about
SAMPLES = 9  # points looked at between two cells


def colours(image: Picture, grid: tuple[int, int], per_cell: int = P) -> Floats:
    """The picture as the model sees it in CIELAB, so many pixels per cell and axis, float64 (P h, P w, 3)."""
    import torch
    from skimage.color import rgb2lab

    height, width = per_cell * grid[0], per_cell * grid[1]
    pixels = image.at(max(height, width)).pixels
    if height != width:
        pixels = torch.nn.functional.interpolate(pixels[None], (height, width), mode="area")[0]
    found = rgb2lab(((pixels.permute(1, 2, 0).double().numpy() + 1) / 2).clip(0, 1))
    return np.asarray(found * [LIGHTNESS, 1, 1], np.float64)


def background_likeness(colours_HW3: Floats, foreground_hw: Masks) -> Floats:
    """How much every pixel looks like background near it, in [0, 1], float64 (P h, P w).

    Background are the cells that are no foreground and do not touch it: they look like it wholly. Where there are none,
    nothing does.
    """
    from scipy.ndimage import binary_dilation
    from scipy.spatial import cKDTree

    height, width = colours_HW3.shape[:2]
    sure = ~binary_dilation(foreground_hw, np.ones((3, 3), np.bool_))
    if not sure.any():
        return np.zeros((height, width))
    y, x = np.mgrid[:height, :width] * (ACROSS / max(height, width))
    points = np.dstack([colours_HW3, y, x]).reshape(-1, 5)
    cell = np.ones((height // sure.shape[0], width // sure.shape[1]), np.bool_)
    known = np.kron(sure, cell).ravel()
    background = points[known]
    away, _ = cKDTree(background[:: max(2, len(background) // KNOWN)]).query(points[~known])
    likeness = np.ones(len(points))
    likeness[~known] = np.exp(-(away**2) / (2 * ALIKE**2))
    return likeness.reshape(height, width)


def gaps(likeness_HW: Floats, cells: Cells, width: int, reach: float) -> Floats:
    """The most background-like point between every two cells, symmetric (N, N); 1 where they are over `reach` apart.

    Args:
        likeness_HW: as of `background_likeness`.
        cells: indexes into a grid of `width` columns.
        reach: in cells. One displacement is looked at for all cells at once.
    """
    number = len(cells)
    found = np.ones((number, number))
    np.fill_diagonal(found, 0)
    height = likeness_HW.shape[0] // P
    where = np.full((height, width), -1)
    where.ravel()[cells] = np.arange(number)
    rows, columns = cells // width, cells % width
    far = int(reach)
    for down in range(far + 1):
        for right in range(-far if down else 1, far + 1):
            if down * down + right * right > reach * reach:
                continue
            first = _inside(rows + down, columns + right, where)
            if not len(first):
                continue
            second = where[rows[first] + down, columns[first] + right]
            found[first, second] = found[second, first] = _most(likeness_HW, rows[first], columns[first], down, right)
    return found


def _inside(rows: Cells, columns: Cells, where_hw: Cells) -> Cells:
    """Which of some places are on the grid and asked about."""
    height, width = where_hw.shape
    on = np.flatnonzero((rows < height) & (columns >= 0) & (columns < width))
    return np.asarray(on[where_hw[rows[on], columns[on]] >= 0])


def _most(likeness_HW: Floats, rows: Cells, columns: Cells, down: int, right: int) -> Floats:
    """The largest value on the way from each cell's middle to the one `down` and `right` of it."""
    steps = np.linspace(0, 1, SAMPLES + 2)[1:-1, None]
    middle = P / 2 - 0.5
    y = np.rint(P * (rows + steps * down) + middle).astype(np.int64)
    x = np.rint(P * (columns + steps * right) + middle).astype(np.int64)
    return np.asarray(likeness_HW[y, x].max(axis=0))


def cell_colours(colours_HW3: Floats, grid: tuple[int, int]) -> Floats:
    """The mean colour of every cell, float64 (h, w, 3)."""
    height, width = grid
    return np.asarray(colours_HW3.reshape(height, P, width, P, 3).mean(axis=(1, 3)))


def open_outline(colours_hw3: Floats, cells: Cells, foreground_hw: Masks) -> float:
    """The share of a piece's outline towards the background at which the picture has no edge, in [0, 1].

    Every cell is held against the background cells two up, down, left and right of it: one that touches the outline is
    of both. 0 where there are none.
    """
    height, width = foreground_hw.shape
    y, x = cells // width, cells % width
    flat = []
    for down, right in ((0, 2), (2, 0), (0, -2), (-2, 0)):
        on = (y + down >= 0) & (y + down < height) & (x + right >= 0) & (x + right < width)
        mine, yours = (y[on], x[on]), (y[on] + down, x[on] + right)
        apart = np.linalg.norm(colours_hw3[mine] - colours_hw3[yours], axis=1)
        flat.append((apart < SAME)[~foreground_hw[yours]])
    every = np.concatenate(flat)
    return float(every.mean()) if len(every) else 0.0
