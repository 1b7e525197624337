"""Affinity from what the UNet's decoder computes, not from what it attends to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import hookimpl
from uce.core.model import MapSettings

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core import AttentionMaps, Backbone, Context, Picture
    from uce.core.model import Grid


class FeaturesExtractor:
    """Likeness of decoder features as affinity: where parts of one thing lie apart, or attention is blurred."""

    name = "features"

    class Settings(MapSettings):
        block: int | None = Field(
            default=None,
            ge=0,
            description="decoder block to read, 0 the deepest and coarsest, of a transformer counted as blocks run; "
            "null: 1, of a transformer the middle one",
        )
        timestep: float = Field(
            default=0.261,
            ge=0,
            description="noise level; below 1 a fraction of the model's schedule, from 1 up the timestep itself",
        )
        noise_samples: int = Field(default=4, ge=1, description="noise draws over which features are averaged")
        temperature: float = Field(
            default=0.05, gt=0, le=10, description="lower: cells attend only to those most like them"
        )

    @hookimpl
    def uce_extract_attention(
        self, backbone: Backbone, image: Picture, settings: Settings, context: Context
    ) -> AttentionMaps:
        """Run the frozen UNet on the noised picture; cells attend to each other by the likeness of their features.

        Row i of the affinity is the softmax over cells of the cosine similarity to cell i, over the temperature.
        Saliency is the attention to the end of the empty prompt in the same passes.

        Returns:
            affinity (N, N) and saliency (h, w) on the latent grid.

        Raises:
            StageInputError: a timestep or block that the model does not have, or a backbone that shows no features.

        Source: Tang et al., "Emergent Correspondence from Image Diffusion", NeurIPS 2023 (DIFT): block 1 of Stable
        Diffusion's four, timestep 261 of 1000, features averaged over noise draws. Of a transformer, features are taken
        after the block's adaptive norm and without massive activations, both of which Gan et al. (DiTF, 2025) need.
        """
        from uce.core import AttentionMaps, StageInputError
        from uce.core.model import (
            end_of_text,
            grid_of,
            joint_layers,
            mean_of_sizes,
            noised,
            read_maps,
            resolve_timestep,
            saliency_from,
        )

        if not hasattr(backbone, "capture_features"):
            raise StageInputError(
                f"model '{backbone.model}' does not show its features (its plugin has no capture_features); choose "
                "--extractor self-attention"
            )
        timestep = resolve_timestep(backbone, settings.timestep, "extractor.timestep")
        layers = joint_layers(backbone)
        block = (len(layers) // 2 or 1) if settings.block is None else settings.block
        draws = settings.noise_samples if timestep > 0 else 1

        def read(latents: Tensor, grid: Grid | None) -> AttentionMaps:
            features, saliency = None, None
            for draw in range(draws):
                noisy = noised(backbone, latents, timestep, context, f"noise {draw}")
                with backbone.capture_features(block) as found:
                    _, cross = read_maps(backbone, noisy, timestep, own=False)
                grid = grid or grid_of(cross, latents)
                attention = end_of_text(cross, grid, settings.saliency_side)
                features = found[block] + (0 if features is None else features)
                saliency = attention + (0 if saliency is None else saliency)
            assert grid is not None and features is not None and saliency is not None
            affinity = _affinity(features / draws, grid, settings.temperature, drop=bool(layers))
            return AttentionMaps(affinity=affinity, saliency=saliency_from(saliency, grid))

        return mean_of_sizes(backbone, image, settings, read)


def _affinity(features_1Chw: Tensor, grid: tuple[int, int], temperature: float, *, drop: bool = False) -> Tensor:
    """Softmax of cosine similarities, float32 (N, N), of features enlarged (or shrunk) to the grid.

    Args:
        drop: leave out channels of massive activations, which transformers have.
    """
    from torch.nn.functional import interpolate

    from uce.core.model import likeness, without_massive

    if tuple(features_1Chw.shape[2:]) != grid:
        features_1Chw = interpolate(features_1Chw, size=grid, mode="bilinear", align_corners=False)
    cells_NC = features_1Chw[0].flatten(1).T
    return likeness(without_massive(cells_NC) if drop else cells_NC, temperature)
