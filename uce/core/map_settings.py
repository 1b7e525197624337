"""Settings that every extractor has which reads a UNet's maps."""

from __future__ import annotations

from pydantic import Field

from uce.core.settings import Settings


class MapSettings(Settings):
    """How large the picture is shown, and where saliency is read."""

    cells: int | None = Field(
        default=None,
        ge=2,
        le=512,
        description="fewest latent cells per side: a model with a coarser latent grid sees the picture enlarged",
    )
    saliency_side: int | None = Field(
        default=None,
        ge=1,
        description="side of the cross-attention layers to read saliency from, instead of a quarter",
    )
