"""The same things in another picture: what an optimizer that learns from several pictures looks at besides the first.

Legend: K concepts; N cells of the grid; H, W pixels of the other picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from uce.core.flow.data import Concepts
from uce.core.flow.serial import content_digest

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.flow.picture import Picture


@dataclass(frozen=True, eq=False)
class Sighting:
    """A further picture of the concepts that are learned.

    Attributes:
        image: the picture.
        concepts: masks bool (K, h, w) and (K, H, W), maps float (K, N): row k is where the run's concept k stands in
            it. A mask without cells says that it does not.
    """

    image: Picture
    concepts: Concepts

    @classmethod
    def of(cls, image: Picture, found: Concepts, rows: Sequence[int], count: int) -> Self:
        """From the concepts that are there.

        Args:
            found: of this picture alone.
            rows: for each of them which of the run's concepts it is.
            count: K.
        """
        masks = found.masks.new_zeros(count, *found.grid)
        pixel_masks = found.masks.new_zeros(count, *image.size)
        maps = found.maps.new_full((count, found.maps.shape[1]), 1 / found.maps.shape[1])
        scores = found.scores.new_zeros(count)
        pairs = ((masks, found.masks), (pixel_masks, image.masks_of(found)), (maps, found.maps), (scores, found.scores))
        for whole, part in pairs:
            whole[[*rows]] = part
        return cls(image, Concepts(masks, maps, scores, pixel_masks))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that a training reads of it."""
        return self.concepts.masks, self.concepts.maps, self.image.pixels


def sightings_digest(sightings: Sequence[Sighting]) -> str:
    """Hash of everything in them; "" for none."""
    each = [f"{content_digest(one.concepts)}/{one.image.digest}/{one.image.fit}" for one in sightings]
    return hashlib.sha256("/".join(each).encode()).hexdigest() if each else ""
