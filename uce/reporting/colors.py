"""Colours of lines and dots that can be seen on white paper and on dark."""

from __future__ import annotations

import colorsys

LOWEST, HIGHEST = 0.15, 0.28
"""Relative luminance with a contrast of at least 3 to both papers of style.css, white and dark (WCAG 2.2, 1.4.11)."""


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb", in [0, 1]; definition of WCAG 2.2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, from 1 to 21; definition of WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(color: str) -> str:
    """The same hue as light or dark as it must be; a colour that can be seen on both papers stays as it is."""
    if LOWEST <= luminance(color) <= HIGHEST:
        return color
    hue, lightness, saturation = colorsys.rgb_to_hls(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    dark = luminance(color) < LOWEST
    low, high = (lightness, 1.0) if dark else (0.0, lightness)
    for _ in range(20):  # luminance rises with lightness: halve the interval
        middle = (low + high) / 2
        found = _hex(colorsys.hls_to_rgb(hue, middle, saturation))
        if luminance(found) < (LOWEST + HIGHEST) / 2:
            low = middle
        else:
            high = middle
    return found


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
