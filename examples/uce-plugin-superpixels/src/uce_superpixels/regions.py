"""Superpixels of a picture on the grid of its attention maps.

Legend: h, w cells of the grid, N = h * w; R superpixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Picture

Labels = npt.NDArray[np.int64]
PIXELS_PER_CELL = 4


def superpixels(attention: AttentionMaps, image: Picture | None, count: int, compactness: float) -> Labels:
    """The superpixel of every cell, 0 to R - 1, int64 (h, w); about `count` of them, fewer on a small grid.

    Each cell takes the superpixel of most of its pixels. On bare maps (`image` is None) the main axes of the affinity
    stand in for colours.

    Source: Achanta et al., SLIC superpixels, TPAMI 2012, as in scikit-image.
    """
    from skimage.segmentation import slic

    height, width = attention.grid
    count = min(count, height * width)
    if count == 1:
        return np.zeros((height, width), np.int64)
    colours: npt.NDArray[Any]
    if image is None:  # slic scales what it is given to [0, 1]; Lab colours, which it makes itself, reach to 100
        colours, side, compactness = _main_axes(attention), 1, compactness / 100
    else:
        colours, side = _colours(image, height, width), PIXELS_PER_CELL
    fine: Any = slic(colours, n_segments=count, compactness=compactness, start_label=0, convert2lab=image is not None)
    return compact(_majority(fine, side))


def compact(labels: Labels) -> Labels:
    """The same regions, numbered 0 to R - 1 without gaps."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _colours(image: Picture, height: int, width: int) -> npt.NDArray[np.float32]:
    """The picture as the model sees it, float32 (height * 4, width * 4, 3) in [0, 1]."""
    from torch.nn.functional import interpolate

    size = (height * PIXELS_PER_CELL, width * PIXELS_PER_CELL)
    pixels = interpolate(image.pixels[None].cpu(), size=size, mode="bilinear", antialias=True)[0]
    colours: npt.NDArray[np.float32] = ((pixels.clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy()
    return colours


def _main_axes(attention: AttentionMaps) -> npt.NDArray[np.float64]:
    """Three principal axes of the square roots of the affinity rows, float64 (h, w, 3)."""
    rows = attention.affinity.cpu().double().sqrt()
    left, values, _ = np.linalg.svd((rows - rows.mean(dim=0)).numpy(), full_matrices=False)
    axes = (left * values)[:, :3]
    padded: npt.NDArray[np.float64] = np.pad(axes, ((0, 0), (0, 3 - axes.shape[1])))
    return padded.reshape(*attention.grid, 3)


def _majority(fine: Labels, side: int) -> Labels:
    """The most frequent label within every block of side x side, the lowest where several are."""
    height, width = fine.shape[0] // side, fine.shape[1] // side
    blocks = fine.reshape(height, side, width, side).transpose(0, 2, 1, 3).reshape(height * width, -1)
    votes = np.zeros((height * width, int(fine.max()) + 1), np.int64)
    np.add.at(votes, (np.arange(height * width)[:, None], blocks), 1)
    winners: Labels = votes.argmax(axis=1).reshape(height, width)
    return winners
