"""Settings that every extractor has which reads a UNet's maps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from uce.core.flow.settings import Settings


class MapSettings(Settings):
    """How large the picture is shown, and where saliency is read."""

    cells: int | None = Field(
        default=None,
        ge=2,
        le=512,
        description="fewest latent cells per side: a model with a coarser latent grid sees the picture enlarged",
    )
    own_size: bool = Field(
        default=False,
        description="where `cells` enlarges the picture: show it at the model's own size, too, and average the maps",
    )
    saliency_side: int | None = Field(
        default=None,
        ge=1,
        description="side of the cross-attention layers to read saliency from, instead of a quarter",
    )


class AttentionSettings(MapSettings):
    """How maps of several layers become one affinity; defaults are the paper's."""

    normalize: Literal["end", "layers"] = Field(
        default="end", description="divide rows by their sums once at the end, or in each layer before averaging"
    )
    flip: bool = Field(
        default=False,
        description="read the maps from the mirrored picture, as the paper's code does on half of its seeds, and turn "
        "them back",
    )
    queries: Literal["repeat", "interpolate"] = Field(
        default="repeat",
        description="rows of coarse layers: the same for all cells that one of theirs covers, or between those of four",
    )
