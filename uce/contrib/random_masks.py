"""Masks thrown at random: what localisation is worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from uce.core import AttentionMaps, Clusters, Context, Picture


class RandomMasksClusterer:
    """Ellipses thrown at random, which look at nothing: a baseline to compare localisation with."""

    name = "random-masks"
    foreground = "none"
    refiners = ("none",)  # they are masks already

    class Settings(BaseSettings):
        fewest: int = Field(1, ge=1, le=64, description="smallest number of masks")
        most: int = Field(5, ge=1, le=64, description="largest number of masks")
        smallest: float = Field(0.03, gt=0, le=1, description="least share of the picture that a mask takes")
        largest: float = Field(0.15, gt=0, le=1, description="largest share of the picture that a mask takes")

        @model_validator(mode="after")
        def _ordered(self) -> RandomMasksClusterer.Settings:
            if self.fewest > self.most or self.smallest > self.largest:
                raise ValueError("fewest must not exceed most, nor smallest exceed largest")
            return self

    @hookimpl
    def uce_cluster(
        self, attention: AttentionMaps, image: Picture | None, settings: Settings, context: Context
    ) -> Clusters:
        """Throw ellipses; where two overlap, the later one keeps the cells; the rest is unassigned.

        Args:
            attention: only its grid (h, w) is looked at.
            image: only told from other pictures, so that each gets masks of its own.

        Returns:
            labels int64 (h, w), 0 to K - 1 with K from `fewest` to `most` (fewer where later masks cover earlier
            ones), -1 outside.
        """
        import torch

        from uce.core import Clusters
        from uce.core.localisation import in_raster_order

        generator = context.generator(salt="random-masks" if image is None else image.digest)
        labels = torch.full(attention.grid, -1, dtype=torch.int64)
        count = int(torch.randint(settings.fewest, settings.most + 1, (1,), generator=generator))
        for number in range(count):
            labels[_ellipse(attention.grid, settings, generator)] = number
        inside = labels >= 0
        labels[inside] = torch.from_numpy(in_raster_order(labels[inside].numpy()))
        return Clusters(labels=labels)


def _ellipse(grid: tuple[int, int], settings: RandomMasksClusterer.Settings, generator: Generator) -> Tensor:
    """bool (h, w) with at least one cell: area, shape, turn and place drawn evenly."""
    import torch

    height, width = grid
    area, shape, turn, down, across = torch.rand(5, generator=generator).tolist()
    share = settings.smallest + area * (settings.largest - settings.smallest)
    radius = math.sqrt(share * height * width / math.pi)
    long = 2 ** (shape - 0.5)  # half an octave longer, or wider, than a disc
    y = torch.arange(height, dtype=torch.float64)[:, None] - down * (height - 1)
    x = torch.arange(width, dtype=torch.float64)[None, :] - across * (width - 1)
    cosine, sine = math.cos(math.pi * turn), math.sin(math.pi * turn)
    inside: Tensor = ((x * cosine + y * sine) / long) ** 2 + ((y * cosine - x * sine) * long) ** 2 <= radius**2
    inside[round(down * (height - 1)), round(across * (width - 1))] = True
    return inside
