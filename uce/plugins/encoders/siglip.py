"""SigLIP and SigLIP 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Encoder
    from uce.plugins.encoders._transformers import Source

MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
KINDS = ("siglip", "siglip_vision_model", "siglip2", "siglip2_vision_model")


class SiglipEncoderPlugin:
    """SigLIP or SigLIP 2: pictures and texts, closer to what a prompt says than CLIP; today's choice for prompts."""

    name = "siglip"

    class Settings(BaseSettings):
        model: str = Field(
            "google/siglip2-base-patch16-224", description="a folder in transformers' layout, or a hub id"
        )
        revision: str | None = Field(None, description="commit or branch of a hub id")

    @hookimpl
    def uce_load_encoder(self, settings: Settings, device: str) -> Encoder:
        """Load a SigLIP model; features are its pooled states. Texts are read where the text half and its tokenizer
        are there.

        Raises:
            ModelError: the model is missing, of another kind, or not to be had.

        Source: Zhai et al., ICCV 2023; Tschannen et al., arXiv 2502.14786, 2025 (SigLIP 2, NaFlex included).
        """
        from transformers.models.auto.modeling_auto import AutoModel

        from uce.plugins.encoders._transformers import find, put_together, sizes

        source = find(self.name, settings.model, settings.revision, KINDS)
        network = source.part(_class(source.kind, "Vision") if "vision" not in source.kind else AutoModel).to(device)
        naflex = source.kind.startswith("siglip2")  # takes patches of any grid

        def features(pixels: Any) -> Any:
            found = network(**_patches(pixels, network.config.patch_size)) if naflex else network(pixel_values=pixels)
            return found.last_hidden_state.mean(dim=1) if found.pooler_output is None else found.pooler_output

        steps = source.preprocessing(MEAN, DEVIATION)
        native = round(network.config.num_patches**0.5) * network.config.patch_size if naflex else 0
        scale, side = (native, native) if naflex else sizes(steps, network.config.image_size)
        texts = None if "vision" in source.kind else _texts(source, device)
        return put_together(f"SigLIP {settings.model}", features, scale, side, steps, device, texts)


def _class(kind: str, half: str) -> Any:
    """transformers' class of one half, such as SiglipVisionModel."""
    import transformers

    return getattr(transformers, f"{kind.capitalize()}{half}Model")


def _patches(pixels: Any, patch: int) -> dict[str, Any]:
    """float (B, 3, S, S) -> the patches (B, N, patch * patch * 3), row by row, and their grid."""
    import torch

    count, _, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    cut = pixels.reshape(count, 3, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": cut.reshape(count, rows * columns, -1),
        "pixel_attention_mask": torch.ones(count, rows * columns, dtype=torch.int32, device=pixels.device),
        "spatial_shapes": torch.tensor([[rows, columns]] * count, device=pixels.device),
    }


def _texts(source: Source, device: str) -> Any:
    """(function, tokenizer, padding) of the text half; None without a tokenizer."""
    tokenizer = source.tokenizer()
    if tokenizer is None:
        return None
    network = source.part(_class(source.kind, "Text")).to(device)

    def features(ids: Any, _mask: Any) -> Any:
        return network(input_ids=ids).pooler_output  # trained on full length, padding included

    length = network.config.max_position_embeddings
    return features, tokenizer, {"padding": "max_length", "max_length": length}
