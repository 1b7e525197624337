"""Handing out a diffusers pipeline."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from uce.plugins.backbones._sd.generation import token_vectors
from uce.plugins.backbones._sd.prompts import ENCODER


class Loaded(Protocol):
    """The parts of a backbone that a pipeline is made of."""

    model: str
    device: str
    encoders: tuple[str, ...]
    scheduler_config: dict[str, Any]
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any

    @property
    def offload(self) -> bool: ...


def own_scheduler(config: Mapping[str, Any]) -> Any:
    """The sampler that a model's folder names, DDIM where it names none that diffusers has."""
    import diffusers

    named = getattr(diffusers, str(config.get("_class_name", "")), None)
    return (named or diffusers.DDIMScheduler).from_config(dict(config))


def make_pipeline(
    backbone: Loaded,
    tokens: Mapping[str, Mapping[str, Tensor]],
    weights: Mapping[str, Tensor] | None = None,
) -> Any:
    """A `StableDiffusionPipeline` around this model's weights.

    Tokens are added to copies of the tokenizer and the text encoder, and trained weights to a copy of the UNet, so that
    the backbone stays as it is.
    """
    from uce.plugins.backbones._sd.quiet import quiet_libraries
    from uce.plugins.backbones._sd.weights import load_into

    with quiet_libraries():
        import diffusers

        tokenizer, text_encoder = backbone.tokenizer, backbone.text_encoder
        if tokens:
            tokenizer, text_encoder = copy.deepcopy(tokenizer), copy.deepcopy(text_encoder)
        pipe = diffusers.StableDiffusionPipeline(
            vae=backbone.vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=copy.deepcopy(backbone.unet) if weights else backbone.unet,
            scheduler=own_scheduler(backbone.scheduler_config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        for token, own in tokens.items():
            vectors = token_vectors(token, own, backbone.encoders)
            pipe.load_textual_inversion({token: vectors[ENCODER].cpu()}, token=token)
        if weights:
            load_into(pipe, weights, backbone.model)
    if backbone.offload and backbone.device != "cpu":
        pipe.enable_model_cpu_offload(device=backbone.device)
    return pipe
