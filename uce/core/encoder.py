"""What turns pictures into features, so that their likeness can be measured.

Legend: B pictures; D width of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

RgbArray = np.ndarray[Any, np.dtype[np.uint8]]
Features = np.ndarray[Any, np.dtype[np.float32]]


class Encoder(Protocol):
    """A loaded picture encoder. The same pictures give the same features, whatever is encoded beside them."""

    @property
    def description(self) -> str:
        """One line: which weights these are and where they came from."""

    def encode(self, pictures: Sequence[RgbArray]) -> Features:
        """uint8 (H, W, 3) square pictures of any side -> float32 (B, D), of any length; cosines are taken of them."""
