"""Handing out a diffusers pipeline."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from uce.plugins.backbones._sd.generation import token_vectors
from uce.plugins.backbones._sd.pipeline import Loaded, own_scheduler


class LoadedXL(Loaded, Protocol):
    """The parts of a backbone that a pipeline of XL is made of."""

    text_encoder_2: Any
    tokenizer_2: Any
    zero_empty: bool


def make_pipeline(
    backbone: LoadedXL,
    tokens: Mapping[str, Mapping[str, Tensor]],
    weights: Mapping[str, Tensor] | None = None,
) -> Any:
    """A `StableDiffusionXLPipeline` around this model's weights.

    Tokens are added to copies of the tokenizers and text encoders, and trained weights to a copy of the UNet, so that
    the backbone stays as it is.
    """
    from uce.plugins.backbones._sd.quiet import quiet_libraries
    from uce.plugins.backbones._sd.weights import load_into

    with quiet_libraries():
        import diffusers

        tokenizers = [backbone.tokenizer, backbone.tokenizer_2]
        text_encoders = [backbone.text_encoder, backbone.text_encoder_2]
        if tokens:
            tokenizers, text_encoders = copy.deepcopy(tokenizers), copy.deepcopy(text_encoders)
            _pool_at_the_end(text_encoders[1], tokenizers[1])
        pipe = diffusers.StableDiffusionXLPipeline(
            vae=backbone.vae,
            text_encoder=text_encoders[0],
            text_encoder_2=text_encoders[1],
            tokenizer=tokenizers[0],
            tokenizer_2=tokenizers[1],
            unet=copy.deepcopy(backbone.unet) if weights else backbone.unet,
            scheduler=own_scheduler(backbone.scheduler_config),
            force_zeros_for_empty_prompt=backbone.zero_empty,
            add_watermarker=False,
        )
        for token, own in tokens.items():
            vectors = token_vectors(token, own, backbone.encoders)
            for name, tokenizer, text_encoder in zip(backbone.encoders, tokenizers, text_encoders, strict=True):
                pipe.load_textual_inversion(
                    {token: vectors[name].cpu()},
                    token=token,
                    tokenizer=tokenizer,
                    text_encoder=text_encoder,
                )
        if weights:
            load_into(pipe, weights, backbone.model)
    if backbone.offload and backbone.device != "cpu":
        pipe.enable_model_cpu_offload(device=backbone.device)
    return pipe


def _pool_at_the_end(text_encoder: Any, tokenizer: Any) -> None:
    """Published configurations of the second encoder say eos_token_id 2, which transformers takes as "the highest id
    ends the text". Added tokens have higher ids still: the pooled embedding would be taken at the token."""
    text_encoder.config.eos_token_id = text_encoder.text_model.eos_token_id = int(tokenizer.eos_token_id)
