"""DINO and DINOv2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Encoder

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoEncoderPlugin:
    """DINO or DINOv2 class token, as the literature reports it: nearer to identity than CLIP, farther from words."""

    name = "dino"

    class Settings(BaseSettings):
        model: str = Field(
            "facebook/dino-vits16",
            description="a folder in transformers' layout, or a hub id such as facebook/dinov2-base",
        )
        revision: str | None = Field(None, description="commit or branch of a hub id")

    @hookimpl
    def uce_load_encoder(self, settings: Settings, device: str) -> Encoder:
        """Load a self-supervised vision transformer; features are its last class token.

        Raises:
            ModelError: the model is missing, of another kind, or not to be had.

        Source: Caron et al., ICCV 2021; Oquab et al., TMLR 2024.
        """
        from transformers.models.auto.modeling_auto import AutoModel

        from uce.plugins.encoders._transformers import TransformersEncoder, load, sizes

        fallback = {"image_mean": MEAN, "image_std": DEVIATION}
        model, revision = settings.model, settings.revision
        network, steps = load(self.name, model, revision, ("vit", "dinov2"), AutoModel, fallback)
        network = network.to(device)
        # DINO's own forward interpolates; DINOv2's always does.
        more = {"interpolate_pos_encoding": True} if network.config.model_type == "vit" else {}

        def features(pixels: Any) -> Any:
            return network(pixel_values=pixels, **more).last_hidden_state[:, 0]

        patch = int(network.config.patch_size)
        scale, side = sizes(steps, network.config.image_size)
        side = max(patch, side // patch * patch)
        text = f"DINO {model}"
        return TransformersEncoder(text, features, scale, side, steps["image_mean"], steps["image_std"], device)
