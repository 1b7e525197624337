"""DINO, DINOv2 (with and without registers) and DINOv3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Encoder

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINDS = ("vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")


class DinoEncoderPlugin:
    """DINO, DINOv2 or DINOv3 class token, as the literature reports it: nearer to identity than CLIP, no words."""

    name = "dino"

    class Settings(BaseSettings):
        model: str = Field(
            "facebook/dino-vits16",
            description="a folder in transformers' layout, or a hub id such as facebook/dinov2-with-registers-base",
        )
        revision: str | None = Field(None, description="commit or branch of a hub id")

    @hookimpl
    def uce_load_encoder(self, settings: Settings, device: str) -> Encoder:
        """Load a self-supervised vision transformer, or a network distilled from one; features are its last class
        token (of a ConvNeXt the pooled one).

        Raises:
            ModelError: the model is missing, of another kind, or not to be had.

        Source: Caron et al., ICCV 2021; Oquab et al., TMLR 2024; Darcet et al., ICLR 2024 (registers); Siméoni et al.,
            arXiv 2508.10104, 2025 (DINOv3).
        """
        from transformers.models.auto.modeling_auto import AutoModel

        from uce.plugins.encoders._transformers import find, put_together, sizes

        source = find(self.name, settings.model, settings.revision, KINDS)
        network = source.part(AutoModel).to(device)
        # DINO's own forward interpolates; that of the later ones always does.
        more = {"interpolate_pos_encoding": True} if source.kind == "vit" else {}

        def features(pixels: Any) -> Any:
            return network(pixel_values=pixels, **more).last_hidden_state[:, 0]

        patch = int(getattr(network.config, "patch_size", 1))
        steps = source.preprocessing(MEAN, DEVIATION)
        scale, side = sizes(steps, network.config.image_size)
        side = max(patch, side // patch * patch)
        return put_together(f"DINO {settings.model}", features, scale, side, steps, device)
