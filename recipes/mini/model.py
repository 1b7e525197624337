"""The parts of `mini`: UNet, text encoder and noise schedule with fresh weights."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH = 256  # of the text encoder
GRID = 16
CHANNELS = 16


def make_unet() -> UNet2DConditionModel:
    """Self- and cross-attention at every level: 16, 8 and 4 cells a side."""
    channels = (64, 128, 192)
    return UNet2DConditionModel(
        sample_size=GRID,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=WIDTH,
        attention_head_dim=tuple(count // 32 for count in channels),
        norm_num_groups=16,
        use_linear_projection=True,
    )


def text_config(tokenizer: CLIPTokenizer, width: int = WIDTH) -> dict[str, Any]:
    """Settings of a small causal CLIP text encoder over the tokenizer's vocabulary."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "projection_dim": width,
        "num_hidden_layers": 2,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A small causal CLIP text encoder."""
    return CLIPTextModel(CLIPTextConfig(**text_config(tokenizer)))


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule with v-prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )


class Injection:
    """Puts given vectors in place of word embeddings at given positions, while it is filled."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        self.where: Tensor | None = None
        self.vectors: Tensor | None = None
        encoder.get_input_embeddings().register_forward_hook(self._replace)

    def _replace(self, module: torch.nn.Module, arguments: object, output: Tensor) -> Tensor | None:
        if self.where is None or self.vectors is None or not len(self.where):
            return None
        output = output.clone()
        output[self.where[:, 0], self.where[:, 1]] = self.vectors.to(output.dtype)
        return output
