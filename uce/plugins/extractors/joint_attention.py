"""Affinity and saliency from the joint attention of text and picture in diffusion transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core import AttentionMaps, Backbone, Context, Picture


class JointAttentionExtractor:
    """What cells of a transformer attend to: for FLUX.1 and Stable Diffusion 3, where `self-attention` uses it."""

    name = "joint-attention"

    class Settings(BaseSettings):
        """Defaults lie where others' published settings meet; the presets seg4diff, conceptattention and goca are
        those settings."""

        blocks: list[int] | None = Field(
            default=None, description="blocks to read, counted from 0 as they run; null: from a quarter of the depth on"
        )
        time: float = Field(
            default=0.26, ge=0, description="noise in the picture; below 1 its share, from 1 up the model's timestep"
        )
        noise_samples: int = Field(default=2, ge=1, le=64, description="noise draws to average over")
        read: Literal["maps", "outputs"] = Field(
            default="maps", description="maps: who attends to whom; outputs: how alike is what attention gives to cells"
        )
        path: Literal["picture", "text"] = Field(
            default="picture", description="maps from cell to cell, or from cell to the empty text and back to cells"
        )
        reference: int | None = Field(
            default=None, description="block that the others should agree with, which weights them; null: all alike"
        )
        normalize: Literal["end", "layers"] = Field(
            default="layers", description="divide rows by their sums once at the end, or in each layer before averaging"
        )
        saliency: Literal["text", "end"] = Field(
            default="text", description="what stands out attends to the whole empty text, or to where it ends"
        )
        temperature: float = Field(
            default=0.05, gt=0, le=10, description="of outputs: lower, and cells attend only to those most like them"
        )

    @hookimpl
    def uce_extract_attention(
        self, backbone: Backbone, image: Picture, settings: Settings, context: Context
    ) -> AttentionMaps:
        """Run the frozen transformer on the noised picture under the empty prompt.

        A UNet has no such layers: of one the self-attention of all layers is read instead, with what else is set here
        refused.

        Returns:
            affinity (N, N) and saliency (h, w) on the grid of the model's picture tokens, 2 x 2 latent cells each.

        Raises:
            StageInputError: a block or timestep that the model does not have; for a UNet any setting of blocks.

        Source: the settings of the presets are those of Kim et al., Seg4Diff, NeurIPS 2025; Helbling et al.,
        ConceptAttention, ICML 2025; GoCA, CVPR 2026. Their aims differ from ours (labels by text; correspondence), and
        what is made of the maps here is our own.
        """
        from uce.core.model import (
            AttentionSettings,
            JointReading,
            chosen_layers,
            encode_picture,
            joint_attention,
            joint_layers,
            mean_of_passes,
            noised,
            resolve_timestep,
        )

        timestep = resolve_timestep(backbone, settings.time, "extractor.time")
        draws = range(settings.noise_samples if timestep else 1)

        def draw_all(latents: Tensor) -> list[Tensor]:
            return [noised(backbone, latents, timestep, context, f"noise {draw}") for draw in draws]

        if not joint_layers(backbone) and settings == JointAttentionExtractor.Settings(
            **{key: getattr(settings, key) for key in ("time", "noise_samples", "normalize")}
        ):
            own = AttentionSettings(normalize=settings.normalize)
            return mean_of_passes(backbone, image, own, lambda x: [(x_t, timestep) for x_t in draw_all(x)])
        layers = chosen_layers(backbone, settings.blocks)
        latents = encode_picture(backbone, image.at(backbone.picture_side).pixels)

        def passes() -> list[Tensor]:
            return draw_all(latents)

        reference = None
        if settings.reference is not None:
            (reference,) = chosen_layers(backbone, [settings.reference])
            layers = (*(layer for layer in layers if layer != reference), reference)
        if settings.read == "outputs":
            return _of_outputs(backbone, passes(), timestep, layers, settings)
        each = settings.normalize == "layers"
        reading = JointReading(settings.path, layers, reference, each, settings.saliency)
        return joint_attention(backbone, passes, timestep, reading)


def _of_outputs(
    backbone: Backbone,
    passes: list[Tensor],
    timestep: int,
    layers: tuple[str, ...],
    settings: JointAttentionExtractor.Settings,
) -> AttentionMaps:
    """Affinity from the likeness of what attention gives to cells, mean over layers and passes."""
    from uce.core import AttentionMaps
    from uce.core.model import joint_layers, likeness, read_joint_maps, saliency_from, text_attention

    blocks = [joint_layers(backbone).index(layer) for layer in layers]
    affinity, saliency, grid = None, None, (0, 0)
    for noisy in passes:
        with backbone.capture_features(*blocks, of="attention") as found:  # type: ignore[call-arg]
            maps = read_joint_maps(backbone, noisy, timestep, layers, "cross")
        attention = text_attention(backbone, maps, settings.saliency)
        saliency = attention if saliency is None else saliency + attention
        grid = maps[0].grid
        for features in found.values():
            rows = likeness(features[0].flatten(1).T, settings.temperature)
            affinity = rows if affinity is None else affinity.add_(rows)
    assert affinity is not None and saliency is not None
    count = len(passes) * len(blocks)
    return AttentionMaps(affinity=affinity.div_(count), saliency=saliency_from(saliency.reshape(grid), grid))
