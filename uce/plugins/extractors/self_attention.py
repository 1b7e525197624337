"""Self-attention of the UNet as affinity, end-of-text attention as saliency (ConceptExpress, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import hookimpl
from uce.core.model import AttentionSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from uce.core import AttentionMaps, Backbone, Context, Picture


class SelfAttentionExtractor:
    """The paper's maps: self-attention of all layers from UNet passes on the picture; right for any UNet model.

    On a transformer it gives way to `joint-attention` with that one's own settings.
    """

    name = "self-attention"

    class Settings(AttentionSettings):
        """Defaults are the paper's."""

        timestep: int = Field(default=0, ge=0, description="diffusion timestep of the UNet pass; 0 reads the picture")
        noise_samples: int = Field(
            default=1, ge=1, description="noise draws to average over; without effect at timestep 0, which has no noise"
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
        from uce.core import StageInputError
        from uce.core.model import joint_layers, mean_of_passes, noised

        if joint_layers(backbone):
            return _joint(backbone, image, context)
        timestep = settings.timestep
        if timestep >= backbone.num_timesteps:
            raise StageInputError(
                f"extractor.timestep must be below {backbone.num_timesteps} for this model, found {timestep}"
            )
        draws = settings.noise_samples if timestep > 0 else 1

        def passes(latents: Tensor) -> Iterator[tuple[Tensor, int]]:
            for draw in range(draws):
                yield noised(backbone, latents, timestep, context, f"noise {draw}"), timestep

        return mean_of_passes(backbone, image, settings, passes)


def _joint(backbone: Backbone, image: Picture, context: Context) -> AttentionMaps:
    """A transformer has no self-attention apart from its text: `joint-attention` reads what it has instead."""
    import logging

    from uce.plugins.extractors.joint_attention import JointAttentionExtractor as Joint

    logging.getLogger(__name__).info(
        "this model is a transformer: joint-attention reads its maps, with its own settings; to change them choose "
        "--extractor joint-attention"
    )
    return Joint().uce_extract_attention(backbone, image, Joint.Settings(), context)
