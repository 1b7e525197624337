"""Self-attention of the UNet as affinity, end-of-text attention as saliency (ConceptExpress, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uce.core.hookspecs import hookimpl
from uce.core.settings import Settings as BaseSettings

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.backbone import Backbone, LayerMap
    from uce.core.context import Context
    from uce.core.data import AttentionMaps
    from uce.core.picture import Picture


class SelfAttentionExtractor:
    """The paper's maps: self-attention of all layers from UNet passes on the picture; right for any UNet model."""

    name = "self-attention"

    class Settings(BaseSettings):
        """Defaults are the paper's."""

        timestep: int = Field(default=0, ge=0, description="diffusion timestep of the UNet pass; 0 reads the picture")
        noise_samples: int = Field(
            default=1, ge=1, description="noise draws to average over; without effect at timestep 0, which has no noise"
        )
        normalize: Literal["end", "layers"] = Field(
            default="end", description="divide rows by their sums once at the end, or in each layer before averaging"
        )
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

        from uce.core.aggregate import aggregate_self_attention, finest_grid, normalize_rows, saliency_from
        from uce.core.data import AttentionMaps
        from uce.core.errors import StageInputError

        if settings.timestep >= backbone.num_timesteps:
            raise StageInputError(
                f"extractor.timestep must be below {backbone.num_timesteps} for this model, found {settings.timestep}"
            )
        with torch.no_grad():
            latents = backbone.encode_image(_shown(backbone, image, settings.cells)[None])
            draws = settings.noise_samples if settings.timestep > 0 else 1
            affinity, saliency = None, None
            for draw in range(draws):
                noisy = _noised(backbone, latents, settings.timestep, context, draw)
                own, cross = _read_maps(backbone, noisy, settings.timestep)
                grid = finest_grid(own, (int(latents.shape[2]), int(latents.shape[3])))
                layers = aggregate_self_attention(own, grid, normalize_layers=settings.normalize == "layers")
                own.clear()
                attention = _end_of_text(cross, grid, settings.saliency_side)
                affinity = layers if affinity is None else affinity.add_(layers)
                saliency = attention if saliency is None else saliency + attention
            assert affinity is not None and saliency is not None
            return AttentionMaps(affinity=normalize_rows(affinity), saliency=saliency_from(saliency, grid))


def _shown(backbone: Backbone, image: Picture, cells: int | None) -> Tensor:
    """The picture's pixels (3, side, side), at the model's own side or enlarged to `cells` latent cells."""
    unit = backbone.picture_side // backbone.latent_side
    return image.at(unit * max(backbone.latent_side, cells or 0)).pixels


def _noised(backbone: Backbone, latents: Tensor, timestep: int, context: Context, draw: int) -> Tensor:
    import torch

    if timestep == 0:
        return latents
    noise = torch.randn(latents.shape, generator=context.generator(salt=f"noise {draw}")).to(latents)
    return backbone.add_noise(latents, noise, torch.full((1,), timestep))


def _read_maps(backbone: Backbone, noisy: Tensor, timestep: int) -> tuple[list[LayerMap], list[LayerMap]]:
    """Self-attention of every layer, and cross-attention to the end of an empty text."""
    import torch

    from uce.core.backbone import Capture

    prompt = backbone.tokenize("")
    columns = torch.tensor([[prompt.end[backbone.encoders[0]]]])
    conditioning = backbone.encode_prompts([prompt])
    with backbone.capture(Capture("self"), Capture("cross", columns=columns)) as maps:
        backbone.predict(noisy, torch.full((1,), timestep), conditioning)
    return [one for one in maps if one.kind == "self"], [one for one in maps if one.kind == "cross"]


def _end_of_text(maps: list[LayerMap], grid: tuple[int, int], side: int | None) -> Tensor:
    """Mean attention (h', w') to the end-of-text token in the down and up layers of a quarter of the grid's side, or
    of the side nearest to that (the larger of two)."""
    from uce.core.aggregate import mean_cross_attention
    from uce.core.errors import StageInputError

    outer = [layer for layer in maps if not layer.name.startswith("mid")] or maps
    if not outer:
        raise StageInputError("the model has no cross-attention layers to read saliency from; choose another extractor")
    wanted = side or max(grid) / 4
    nearest = min((layer.grid for layer in outer), key=lambda own: (abs(max(own) - wanted), -max(own)))
    return mean_cross_attention(outer, nearest)[0, :, :, 0]
