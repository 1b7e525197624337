"""What turns pictures into features, so that their likeness can be measured.

Legend: B pictures; D width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from uce.core.files.pictures import RgbArray

if TYPE_CHECKING:
    from torch import Tensor

Features = np.ndarray[Any, np.dtype[np.float32]]


class Encoder(Protocol):
    """A loaded picture encoder. The same pictures give the same features, whatever is encoded beside them."""

    @property
    def description(self) -> str:
        """One line: which weights these are and where they came from."""

    def encode(self, pictures: Sequence[RgbArray]) -> Features:
        """uint8 (H, W, 3) square pictures of any side -> float32 (B, D), of any length; cosines are taken of them."""


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that has `encode_texts`, too, and so can say how well a picture fits a prompt."""

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """Texts -> float32 (B, D), in the space of the pictures."""


BATCH = 16


def encode_in_batches(
    pictures: Sequence[RgbArray],
    features: Callable[[Tensor], Tensor],
    scale: int,
    side: int,
    mean: Sequence[float],
    deviation: Sequence[float],
    device: str,
) -> Features:
    """Scale, cut, normalise, encode.

    Args:
        pictures: uint8 (H, W, 3), square.
        features: float32 (B, 3, side, side) -> (B, D).
        scale: pixels per side to which pictures are scaled (bicubic).
        side: of that, the centre that the encoder sees.
        mean, deviation: per channel, of pixels in [0, 1].

    Returns:
        float32 (B, D).
    """
    import torch

    centre, spread = (torch.tensor(list(v)).reshape(1, 3, 1, 1) for v in (mean, deviation))
    found = []
    with torch.no_grad():
        for start in range(0, len(pictures), BATCH):
            batch = np.stack([_fit(picture, scale, side) for picture in pictures[start : start + BATCH]])
            pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
            found.append(features(((pixels - centre) / spread).to(device)).float().cpu().numpy())
    return np.concatenate(found).astype(np.float32)


def _fit(picture: RgbArray, scale: int, side: int) -> RgbArray:
    scaled = Image.fromarray(picture).resize((scale, scale), Image.Resampling.BICUBIC)
    margin = (scale - side) // 2
    return np.asarray(scaled.crop((margin, margin, margin + side, margin + side)))
