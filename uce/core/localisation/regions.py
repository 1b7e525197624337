"""Where masks are and what touches what: boxes, connected parts, unions, neighbours. Touching means 4-neighbours.

Legend: K masks; h, w cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from uce.core.files.masks import Masks


def components(mask_hw: Masks) -> tuple[npt.NDArray[np.int32], int]:
    """Connected parts of a mask: labels (h, w), 0 outside and 1 to n inside, and their number n."""
    from scipy import ndimage

    labels, number = ndimage.label(mask_hw)
    return np.asarray(labels, np.int32), int(number)


def union(masks_Khw: Masks, labels_K: npt.NDArray[np.int64]) -> Masks:
    """Union of the masks with the same label, bool (max label + 1, h, w)."""
    result = np.zeros((int(labels_K.max()) + 1, *masks_Khw.shape[1:]), np.bool_)
    for label, mask in zip(labels_K.tolist(), masks_Khw, strict=True):
        result[label] |= mask
    return result


def touching(masks_Khw: Masks) -> Masks:
    """Which pairs of masks touch or overlap, bool (K, K), False on the diagonal.

    Two masks touch when their union has fewer connected parts than the two have apart, which is when a cell of one is
    a cell, or a 4-neighbour of a cell, of the other.
    """
    from scipy import ndimage

    num = len(masks_Khw)
    result = np.zeros((num, num), np.bool_)
    for index, mask in enumerate(masks_Khw):
        grown = ndimage.binary_dilation(mask)
        result[index] = (masks_Khw & grown).any(axis=(1, 2))
    np.fill_diagonal(result, False)
    return result
