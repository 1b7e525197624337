"""Masks as outlines that a browser draws: sharp at every size, and with the pointer's own hit test."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def svg_path(mask_HW: Array) -> str:
    """The mask's border as the `d` of an SVG path (holes included, for fill-rule evenodd), in pixels; corners are
    rounded off by less than a pixel or a 500th of the picture."""
    from skimage.measure import approximate_polygon, find_contours

    tolerance = max(0.6, max(mask_HW.shape) / 500)
    parts = []
    for contour in find_contours(np.pad(mask_HW, 1).astype(np.float32), 0.5):
        points = approximate_polygon(contour, tolerance)[:-1] - 0.5  # minus the margin, plus half a pixel
        if len(points) >= 3:
            parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points) + "Z")
    return "".join(parts)
