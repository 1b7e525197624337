"""The backbone face over a Stable Diffusion XL model: what differs from 1.x and 2.x.

Legend: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uce.core import Conditioning, ModelError
from uce.plugins.backbones._sd.backbone import StableDiffusionBackbone
from uce.plugins.backbones._sd.parts import PLAIN, Manner
from uce.plugins.backbones._sd.prompts import Reader
from uce.plugins.backbones._sdxl.parts import XLParts
from uce.plugins.backbones._sdxl.prompts import ENCODERS, TwoPromptReaders


class StableDiffusionXLBackbone(StableDiffusionBackbone):
    """A loaded Stable Diffusion XL model. UNet, VAE, schedule, attention and sampling are those of its parent."""

    encoders: tuple[str, ...] = ENCODERS

    def __init__(self, parts: XLParts, device: str, precision: str, manner: Manner = PLAIN) -> None:
        self.text_encoder_2, self.tokenizer_2 = parts.text_encoder_2, parts.tokenizer_2
        self.zero_empty = parts.zero_empty
        super().__init__(parts, device, precision, manner)

    def without_guidance(self, conditioning: Conditioning) -> Conditioning:
        """The first prompt's states and pooled embedding become zeros where the model was trained so."""
        if not self.zero_empty:
            return conditioning
        keep = torch.ones(conditioning.states.shape[0], device=conditioning.states.device)
        keep[0] = 0
        states, pooled = conditioning.states, conditioning.added["text_embeds"]
        return Conditioning(
            states=states * keep[:, None, None].to(states),
            added={**conditioning.added, "text_embeds": pooled * keep[:, None].to(pooled)},
        )

    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        from uce.plugins.backbones._sdxl.pipeline import make_pipeline

        return make_pipeline(self, tokens or {}, weights)

    def _make_reader(self, parts: Any) -> Reader:
        _require_xl(parts)
        unet, vae = parts.unet.config, parts.vae.config
        side = unet.sample_size if isinstance(unet.sample_size, int) else max(unet.sample_size or [0])
        return TwoPromptReaders(parts, side * 2 ** (len(vae.block_out_channels) - 1))

    def _added_widths(self) -> dict[str, int]:
        return {"text_embeds": int(self.text_encoder_2.config.projection_dim), "time_ids": 6}

    def _text_encoders(self) -> dict[str, Any]:
        return dict(zip(ENCODERS, (self.text_encoder, self.text_encoder_2), strict=True))


def _require_xl(parts: XLParts) -> None:
    """The UNet must take the pooled embedding and six numbers of size, as XL's base model does."""
    unet = parts.unet.config
    wanted = 6 * int(unet.addition_time_embed_dim or 0) + int(parts.text_encoder_2.config.projection_dim)
    if unet.addition_embed_type != "text_time" or unet.projection_class_embeddings_input_dim != wanted:
        raise ModelError(
            f"model '{parts.model}': the unet takes conditions of width {unet.projection_class_embeddings_input_dim}, "
            f"pooled text and sizes make {wanted}; refiners cannot be used, choose the base model"
        )
    if parts.vae.config.latents_mean is not None:
        raise ModelError(
            f"model '{parts.model}' has latents that are shifted (Playground v2.5), which cannot be used; choose one "
            "that predicts noise or velocity from plain latents, such as sdxl"
        )
