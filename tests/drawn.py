"""A picture in which something stands out: the foreground step refuses noise."""

from __future__ import annotations

import numpy as np


def two_squares(height: int, width: int) -> np.ndarray:
    """A red and a green square on grey, uint8 (height, width, 3)."""
    picture = np.full((height, width, 3), 120, np.uint8)
    picture[height // 4 : height // 2, width // 8 : 3 * width // 8] = (220, 40, 30)
    picture[height // 2 : 3 * height // 4, 5 * width // 8 : 7 * width // 8] = (40, 160, 60)
    return picture
