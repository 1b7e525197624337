"""Attention averaged over several noise levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uce.core import hookimpl
from uce.core.model import AttentionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core import AttentionMaps, Backbone, Context, Picture


class MultiStepExtractor:
    """Self-attention averaged over several noise levels: where maps of a single level are patchy."""

    name = "multi-step"

    class Settings(AttentionSettings):
        timesteps: list[float] = Field(
            default=[0.05, 0.1, 0.2],
            min_length=1,
            max_length=64,
            description="noise levels; below 1 a fraction of the model's schedule, from 1 up the timestep itself",
        )
        noise: Literal["fresh", "inverted"] = Field(
            default="fresh",
            description="fresh: drawn from the seed; inverted: the noise that the model itself sees in the picture",
        )
        noise_samples: int = Field(default=1, ge=1, description="draws of fresh noise at every level")
        inversion_steps: int = Field(
            default=50, ge=1, le=1000, description="steps of the inversion over the whole schedule"
        )
        normalize: Literal["end", "layers"] = Field(
            default="layers", description="divide rows by their sums once at the end, or in each layer before averaging"
        )

    @hookimpl
    def uce_extract_attention(
        self, backbone: Backbone, image: Picture, settings: Settings, context: Context
    ) -> AttentionMaps:
        """Run the frozen UNet on the picture at every noise level and average what its layers attend to.

        Returns:
            affinity (N, N) and saliency (h, w) on the latent grid.

        Raises:
            StageInputError: a timestep that the model does not have.

        Source: the maps of ConceptExpress (arXiv 2407.07077), section 4.1, averaged; inverted noise: DDIM inversion
        (Song, Meng, Ermon, ICLR 2021) under the empty prompt.
        """
        from uce.core import StageInputError
        from uce.core.model import mean_of_passes, resolve_timestep

        if any(value < 0 for value in settings.timesteps):
            raise StageInputError(f"extractor.timesteps must not be negative, found {min(settings.timesteps):g}")
        timesteps = [resolve_timestep(backbone, value, "extractor.timesteps") for value in settings.timesteps]

        def passes(latents: Tensor) -> Iterator[tuple[Tensor, int]]:
            return _passes(backbone, latents, timesteps, settings, context)

        return mean_of_passes(backbone, image, settings, passes)


def _passes(
    backbone: Backbone, latents: Tensor, timesteps: list[int], settings: MultiStepExtractor.Settings, context: Context
) -> Iterator[tuple[Tensor, int]]:
    """(x_t, t) of every UNet pass."""
    from uce.core.model import ddim_inversion, noised

    if settings.noise == "inverted":
        inverted = ddim_inversion(backbone, latents, timesteps, settings.inversion_steps)
        yield from ((inverted[timestep], timestep) for timestep in timesteps)
        return
    for timestep in timesteps:
        for draw in range(settings.noise_samples if timestep > 0 else 1):
            yield noised(backbone, latents, timestep, context, f"noise {timestep} {draw}"), timestep
