"""CLIP's picture encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Encoder

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipEncoderPlugin:
    """CLIP's picture embedding, as the literature reports it: for numbers that compare with papers."""

    name = "clip"

    class Settings(BaseSettings):
        model: str = Field("openai/clip-vit-base-patch32", description="a folder in transformers' layout, or a hub id")
        revision: str | None = Field(None, description="commit or branch of a hub id")

    @hookimpl
    def uce_load_encoder(self, settings: Settings, device: str) -> Encoder:
        """Load the picture half of a CLIP model; features are its projected embedding.

        Raises:
            ModelError: the model is missing, of another kind, or not to be had.

        Source: Radford et al., ICML 2021.
        """
        from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

        from uce.plugins.encoders._transformers import TransformersEncoder, load, sizes

        fallback = {"image_mean": MEAN, "image_std": DEVIATION}
        kinds = ("clip", "clip_vision_model")
        model, revision = settings.model, settings.revision
        network, steps = load(self.name, model, revision, kinds, CLIPVisionModelWithProjection, fallback)
        network = network.to(device)

        def features(pixels: Any) -> Any:
            return network(pixel_values=pixels).image_embeds

        scale, side = sizes(steps, network.config.image_size)
        text = f"CLIP {model}"
        return TransformersEncoder(text, features, scale, side, steps["image_mean"], steps["image_std"], device)
