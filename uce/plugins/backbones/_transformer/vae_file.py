"""The VAE of FLUX.1 or Stable Diffusion 3 as one .safetensors file, alone or beside its transformer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uce.plugins.backbones._sd.files import read_header
from uce.plugins.backbones._sd.parts import guarded

VAE_PREFIX = "first_stage_model."


def vae_from_file(path: Path, model: str, dtype: torch.dtype) -> Any:
    """The VAE of FLUX or Stable Diffusion 3 from one file, alone or beside a transformer.

    Both have the same shape, and other constants: FLUX's files come without a prefix, those of Stable Diffusion 3
    lie beside their transformer.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    keys = read_header(path, model).shapes
    beside = any(key.startswith(VAE_PREFIX) for key in keys)

    def load() -> Any:
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            own = [key for key in file.keys() if not beside or key.startswith(VAE_PREFIX)]  # noqa: SIM118
            tensors = {key: file.get_tensor(key).to(dtype) for key in own}
        config = _vae_shape({key.removeprefix(VAE_PREFIX): value for key, value in tensors.items()})
        scaling, shift = (1.5305, 0.0609) if beside else (0.3611, 0.1159)
        vae = AutoencoderKL(**config, scaling_factor=scaling, shift_factor=shift).to(dtype)
        plain = any(".down_blocks." in key for key in tensors)
        found = tensors if plain else convert_ldm_vae_checkpoint(tensors, vae.config)
        vae.load_state_dict(found)
        return vae

    return guarded(load, model, "vae")


def _vae_shape(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """diffusers' configuration of the VAE, from its tensors."""
    original = "encoder.down.0.block.0.conv1.weight" in tensors
    names = "encoder.down.{}.block.{}.conv1.weight" if original else "encoder.down_blocks.{}.resnets.{}.conv1.weight"
    levels = sum(names.format(i, 0) in tensors for i in range(8))
    widths = tuple(int(tensors[names.format(i, 0)].shape[0]) for i in range(levels))
    return {
        "block_out_channels": widths,
        "layers_per_block": sum(names.format(0, i) in tensors for i in range(8)),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "latent_channels": int(tensors["decoder.conv_in.weight"].shape[1]),
        "norm_num_groups": min(32, widths[0]),
        "use_quant_conv": "quant_conv.weight" in tensors,
        "use_post_quant_conv": "post_quant_conv.weight" in tensors,
    }
