"""The parts of `mini-dit`: an MM-DiT over `mini`'s latents that hears `mini`'s text encoder and a narrow second one.

Stable Diffusion 3 reads two CLIPs side by side, their states before the last layer and their summaries of a text. Here
the first is `mini`'s own and the second a quarter as wide; there is no T5, in whose place the pipeline puts zeros.
"""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from recipes.mini.model import CHANNELS, GRID, WIDTH, text_config

HEADS, HEAD, LAYERS = 6, 32, 6
NARROW = 64
"""Width of the second text encoder."""
SILENT = 256
"""Positions of zeros where Stable Diffusion 3 would hear T5."""
SHIFT = 1.5
"""So that a place on the even schedule is as noisy as the same timestep of `mini`: .82 and .80 noise at 755."""


def make_transformer(layers: int = LAYERS, heads: int = HEADS) -> SD3Transformer2DModel:
    """A token for each of the 16 x 16 latent cells; every block begins as one that changes nothing."""
    width = heads * HEAD
    transformer = SD3Transformer2DModel(
        sample_size=GRID,
        patch_size=1,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=layers,
        attention_head_dim=HEAD,
        num_attention_heads=heads,
        joint_attention_dim=WIDTH + NARROW,
        caption_projection_dim=width,
        pooled_projection_dim=WIDTH + NARROW,
        pos_embed_max_size=2 * GRID,
        qk_norm="rms_norm",
    )
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(".linear") or name == "proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return transformer


def make_text_encoder(tokenizer: CLIPTokenizer, width: int = WIDTH) -> CLIPTextModelWithProjection:
    """`mini`'s text encoder, or a narrower one, with the projection of its summary that the pipeline asks for."""
    return CLIPTextModelWithProjection(CLIPTextConfig(**text_config(tokenizer, width)))


def make_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """A straight way from picture to noise."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT)


def shares_of_noise(places: torch.Tensor) -> torch.Tensor:
    """Places in [0, 1] on the even schedule as shares of noise, shifted as the scheduler shifts them."""
    return SHIFT * places / (1 + (SHIFT - 1) * places)
