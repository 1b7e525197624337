"""CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Encoder
    from uce.plugins.encoders._transformers import Source

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipEncoderPlugin:
    """CLIP's embedding of pictures and texts, as the literature reports it: for numbers that compare with papers."""

    name = "clip"

    class Settings(BaseSettings):
        model: str = Field("openai/clip-vit-base-patch32", description="a folder in transformers' layout, or a hub id")
        revision: str | None = Field(None, description="commit or branch of a hub id")

    @hookimpl
    def uce_load_encoder(self, settings: Settings, device: str) -> Encoder:
        """Load a CLIP model; features are its projected embeddings, or the pooled state where a picture half was
        saved without projection. Texts are read where the text half and its tokenizer are there.

        Raises:
            ModelError: the model is missing, of another kind, or not to be had.

        Source: Radford et al., ICML 2021.
        """
        from transformers.models.clip.modeling_clip import CLIPVisionModel, CLIPVisionModelWithProjection

        from uce.plugins.encoders._transformers import find, put_together, sizes

        source = find(self.name, settings.model, settings.revision, ("clip", "clip_vision_model"))
        network = source.part(CLIPVisionModelWithProjection, without=("visual_projection.",))
        projected = network is not None
        network = (network if projected else source.part(CLIPVisionModel)).to(device)

        def features(pixels: Any) -> Any:
            found = network(pixel_values=pixels)
            return found.image_embeds if projected else found.pooler_output

        steps = source.preprocessing(MEAN, DEVIATION)
        text = f"CLIP {settings.model}" + ("" if projected else ", without projection")
        scale, side = sizes(steps, network.config.image_size)
        texts = _texts(source, device) if source.kind == "clip" else None
        return put_together(text, features, scale, side, steps, device, texts)


def _texts(source: Source, device: str) -> Any:
    """(function, tokenizer, padding) of the text half; None without a tokenizer."""
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    tokenizer = source.tokenizer()
    if tokenizer is None:
        return None
    network = source.part(CLIPTextModelWithProjection).to(device)

    def features(ids: Any, mask: Any) -> Any:
        return network(input_ids=ids, attention_mask=mask).text_embeds

    length = network.config.max_position_embeddings
    return features, tokenizer, {"padding": "longest", "max_length": length}
