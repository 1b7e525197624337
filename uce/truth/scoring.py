"""How well found masks agree with true ones.

Legend: K found masks; T true things; H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from uce.core.errors import StageInputError

Masks = npt.NDArray[np.bool_]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaskScores:
    """Agreement of found masks with the true things of one picture.

    A thing's best match is the found mask of highest IoU with it; one mask may be the best match of several things.

    Attributes:
        iou: mean over true things of the IoU of their best match, in [0, 1]; 0 for a thing that no mask meets.
        recall: mean over true things of the share of the thing's pixels that its best match covers.
        precision: mean over true things of the share of its best match's pixels that lie on the thing.
        ari: adjusted Rand index over all pixels; what no mask covers is one more label, on either side. 1 for the
            same partition, 0 on average for a random one; may be negative.
        count_error: |K - T|.
    """

    iou: float
    recall: float
    precision: float
    ari: float
    count_error: int


def score_masks(found: Masks, truth: Masks) -> MaskScores:
    """Compare found masks with true ones; the order of neither matters.

    Args:
        found: bool (K, H, W); K = 0 scores 0 for everything but `ari` and `count_error`.
        truth: bool (T, H, W), T > 0.

    Raises:
        StageInputError: axes, types or sizes that do not fit, no true thing, or an empty one.
    """
    _check(found, truth)
    inside, found_area, true_area = _overlaps(found, truth)
    iou = _iou(inside, found_area, true_area)
    recall = inside / true_area[:, None]
    precision = inside / np.maximum(1, found_area)[None, :]
    best = [_best(iou[row], recall[row]) for row in range(len(truth))]
    pairs = [(row, column) for row, column in enumerate(best) if column is not None]

    def mean(table: Table) -> float:
        return sum(float(table[pair]) for pair in pairs) / len(truth)

    return MaskScores(mean(iou), mean(recall), mean(precision), rand_index(found, truth), abs(len(found) - len(truth)))


def match_masks(found: Masks, truth: Masks) -> dict[int, tuple[int, float]]:
    """One-to-one matching of highest total IoU: true thing -> (found mask, IoU); pairs that do not meet are left out.

    For whoever needs to know which mask *is* which thing, such as a score of learned tokens.

    Raises:
        StageInputError: as `score_masks`.
    """
    from scipy.optimize import linear_sum_assignment

    _check(found, truth)
    inside, found_area, true_area = _overlaps(found, truth)
    iou = _iou(inside, found_area, true_area)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return {int(t): (int(k), float(iou[t, k])) for t, k in zip(rows, columns, strict=True) if iou[t, k] > 0}


def rand_index(found: Masks, truth: Masks) -> float:
    """Adjusted Rand index between two ways of parting the pixels; see `MaskScores.ari`."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(_labels(truth), _labels(found)))


def _labels(masks: Masks) -> npt.NDArray[np.int64]:
    """A label per pixel: the set of masks that cover it, which for disjoint masks is the mask or none."""
    flat = masks.reshape(len(masks), masks.shape[1] * masks.shape[2])
    if not len(flat) or int(flat.sum(axis=0).max()) <= 1:
        labels = np.zeros(flat.shape[1], np.int64)
        for number, mask in enumerate(flat, start=1):
            labels[mask] = number
        return labels
    sets = np.unique(np.packbits(flat, axis=0), axis=1, return_inverse=True)[1]
    return np.asarray(sets, np.int64).reshape(-1)


def _overlaps(found: Masks, truth: Masks) -> tuple[Table, ...]:
    """Pixels in common (T, K), of each found mask (K,), and of each true thing (T,); counted, so exact."""
    inside = np.array([[np.count_nonzero(thing & mask) for mask in found] for thing in truth], np.float64)
    areas = (np.array([np.count_nonzero(mask) for mask in masks], np.float64) for masks in (found, truth))
    return inside.reshape(len(truth), len(found)), *areas


def _iou(inside: Table, found_area: Table, true_area: Table) -> Table:
    return np.asarray(inside / (true_area[:, None] + found_area[None, :] - inside), np.float64)


def _best(iou: Table, recall: Table) -> int | None:
    """Index of the highest IoU, among equals of the highest recall, so that the order of masks does not matter."""
    order = np.lexsort((recall, iou))
    return int(order[-1]) if len(order) and iou[order[-1]] > 0 else None


def _check(found: Any, truth: Any) -> None:
    for name, masks in (("found", found), ("truth", truth)):
        if not isinstance(masks, np.ndarray) or masks.ndim != 3 or masks.dtype != np.bool_:
            what = f"{masks.dtype} {masks.shape}" if isinstance(masks, np.ndarray) else type(masks).__name__
            raise StageInputError(f"{name} masks must be a boolean numpy array (count, H, W), found {what}")
    if found.shape[1:] != truth.shape[1:]:
        raise StageInputError(
            f"found masks are {found.shape[2]} x {found.shape[1]} pixels, true ones {truth.shape[2]} x "
            f"{truth.shape[1]}; compare masks of the same picture at its own size"
        )
    if not len(truth):
        raise StageInputError("there is no true thing to compare with; give at least one true mask")
    if not truth.any(axis=(1, 2)).all():
        number = int((~truth.any(axis=(1, 2))).argmax())
        raise StageInputError(f"true mask number {number} is empty; leave it out")
