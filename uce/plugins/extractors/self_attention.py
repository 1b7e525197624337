"""Self-attention of the UNet as affinity, end-of-text attention as saliency (ConceptExpress, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uce.core.hookspecs import hookimpl
from uce.core.map_settings import MapSettings

if TYPE_CHECKING:
    from uce.core.backbone import Backbone
    from uce.core.context import Context
    from uce.core.data import AttentionMaps
    from uce.core.picture import Picture


class SelfAttentionExtractor:
    """The paper's maps: self-attention of all layers from UNet passes on the picture; right for any UNet model."""

    name = "self-attention"

    class Settings(MapSettings):
        """Defaults are the paper's."""

        timestep: int = Field(default=0, ge=0, description="diffusion timestep of the UNet pass; 0 reads the picture")
        noise_samples: int = Field(
            default=1, ge=1, description="noise draws to average over; without effect at timestep 0, which has no noise"
        )
        normalize: Literal["end", "layers"] = Field(
            default="end", description="divide rows by their sums once at the end, or in each layer before averaging"
        )

    @hookimpl
    def uce_extract_attention(
        self, backbone: Backbone, image: Picture, settings: Settings, context: Context
    ) -> AttentionMaps:
        """Run the frozen UNet on the picture with an empty prompt and aggregate what its layers attend to.

        Returns:
            affinity (N, N) and saliency (h, w) on the grid of the finest self-attention layers: the latent's own in
            Stable Diffusion 1.x and 2.x, half its side in XL.

        Raises:
            StageInputError: a timestep that the model does not have.

        Source: ConceptExpress (arXiv 2407.07077), section 4.1; the reference runs at timestep 0 without noise.
        """
        import torch

        from uce.core.errors import StageInputError
        from uce.core.unet_maps import average_maps, noised, picture_latents

        if settings.timestep >= backbone.num_timesteps:
            raise StageInputError(
                f"extractor.timestep must be below {backbone.num_timesteps} for this model, found {settings.timestep}"
            )
        with torch.no_grad():
            latents = picture_latents(backbone, image, settings.cells)
            draws = settings.noise_samples if settings.timestep > 0 else 1
            passes = (
                (noised(backbone, latents, settings.timestep, context, f"noise {draw}"), settings.timestep)
                for draw in range(draws)
            )
            return average_maps(
                backbone,
                passes,
                normalize_layers=settings.normalize == "layers",
                saliency_side=settings.saliency_side,
            )
