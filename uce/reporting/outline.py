"""Masks as outlines that a browser draws: sharp at every size, and with the pointer's own hit test."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def svg_path(mask_HW: Array) -> str:
    """The mask's border as the `d` of an SVG path (holes included, for fill-rule evenodd), in pixels; points that are
    off a straight line by less than a pixel or a 500th of the picture are left out."""
    from skimage.measure import find_contours

    tolerance = max(0.6, max(mask_HW.shape) / 500)
    parts = []
    for contour in find_contours(np.pad(mask_HW, 1).astype(np.float32), 0.5):
        points = simplified(contour, tolerance)[:-1] - 0.5  # minus the margin, plus half a pixel
        if len(points) >= 3:
            parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points) + "Z")
    return "".join(parts)


def simplified(points_P2: Array, tolerance: float) -> Array:
    """A closed line (its last point is its first) without the points that hardly bend it.

    Source: Douglas and Peucker, Cartographica 10(2), 1973. (skimage's own pulls in scipy.signal, a second of imports.)
    """
    far = int(np.linalg.norm(points_P2 - points_P2[0], axis=1).argmax())
    kept = {0, far, len(points_P2) - 1}
    spans = [(0, far), (far, len(points_P2) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        start, chord = points_P2[first], points_P2[last] - points_P2[first]
        between = points_P2[first + 1 : last] - start
        length = float(np.hypot(*chord))
        if length == 0:
            distance = np.linalg.norm(between, axis=1)
        else:
            distance = np.abs(between[:, 0] * chord[1] - between[:, 1] * chord[0]) / length
        middle = first + 1 + int(distance.argmax())
        if distance.max() > tolerance:
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return points_P2[sorted(kept)]
