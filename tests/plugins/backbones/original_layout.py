"""A diffusers Stable Diffusion's weights under the names of the original single-file checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def original_layout(unet: Any, vae: Any, text_encoder: Any, *, open_clip: bool) -> dict[str, Tensor]:
    """All three parts in one state dict; `open_clip` lays the text encoder out as in 2.x."""
    text = _open_clip(text_encoder.state_dict()) if open_clip else _plain_clip(text_encoder.state_dict())
    tensors = {
        **_under("model.diffusion_model.", _unet(unet.state_dict(), unet.config.layers_per_block)),
        **_under("first_stage_model.", _vae(vae.state_dict(), len(vae.config.block_out_channels))),
        **_under("cond_stage_model.", text),
    }
    return {key: value.clone().contiguous() for key, value in tensors.items()}


def original_layout_xl(unet: Any, vae: Any, text_encoder: Any, text_encoder_2: Any) -> dict[str, Tensor]:
    """All four parts of a Stable Diffusion XL in one state dict, with what real files hold besides."""
    second = text_encoder_2.state_dict()
    width = text_encoder.config.max_position_embeddings
    tensors = {
        **_under("model.diffusion_model.", _unet(unet.state_dict(), unet.config.layers_per_block)),
        **_under("first_stage_model.", _vae(vae.state_dict(), len(vae.config.block_out_channels))),
        **_under("conditioner.embedders.0.", _plain_clip(text_encoder.state_dict())),
        **_under("conditioner.embedders.1.", _open_clip(second)),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(width)[None],
        "conditioner.embedders.1.model.text_projection": second["text_projection.weight"].T,
        "conditioner.embedders.1.model.logit_scale": torch.tensor(4.6),
    }
    return {key: value.clone().contiguous() for key, value in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in tensors.items()}


def _unet(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    attention_blocks = {key.split(".")[1] for key in tensors if key.startswith("up_blocks") and "attentions" in key}

    def rename(key: str) -> str:
        parts = key.split(".")
        fixed = {
            "time_embedding.linear_1": "time_embed.0",
            "time_embedding.linear_2": "time_embed.2",
            "add_embedding.linear_1": "label_emb.0.0",
            "add_embedding.linear_2": "label_emb.0.2",
            "conv_in": "input_blocks.0.0",
            "conv_norm_out": "out.0",
            "conv_out": "out.2",
        }
        for own, other in fixed.items():
            if key.startswith(own + "."):
                return other + key.removeprefix(own)
        if parts[0] == "mid_block":
            place = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}[".".join(parts[1:3])]
            return _inner(f"middle_block.{place}", parts[1], parts[3:])
        block, kind, index = int(parts[1]), parts[2], int(parts[3])
        if parts[0] == "down_blocks":
            if kind == "downsamplers":
                return f"input_blocks.{(layers + 1) * (block + 1)}.0.op.{parts[-1]}"
            return _inner(
                f"input_blocks.{(layers + 1) * block + index + 1}.{int(kind == 'attentions')}", kind, parts[4:]
            )
        if kind == "upsamplers":
            place = 2 if parts[1] in attention_blocks else 1
            return f"output_blocks.{(layers + 1) * block + layers}.{place}.conv.{parts[-1]}"
        return _inner(f"output_blocks.{(layers + 1) * block + index}.{int(kind == 'attentions')}", kind, parts[4:])

    return {rename(key): value for key, value in tensors.items()}


def _inner(place: str, kind: str, rest: list[str]) -> str:
    if kind == "resnets":
        rest = [_RESNET[rest[0]], *rest[1:]]
    return ".".join([place, *rest])


def _vae(tensors: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    found = {}
    for key, value in tensors.items():
        parts = key.split(".")
        if len(parts) > 2 and parts[1] in ("down_blocks", "up_blocks"):
            down = parts[1] == "down_blocks"
            level = int(parts[2]) if down else levels - 1 - int(parts[2])
            kind = {"resnets": f"block.{parts[4]}", "downsamplers": "downsample", "upsamplers": "upsample"}[parts[3]]
            parts = [parts[0], "down" if down else "up", str(level), kind, *parts[5:]]
        elif len(parts) > 2 and parts[1] == "mid_block":
            kind = f"block_{int(parts[3]) + 1}" if parts[2] == "resnets" else "attn_1"
            parts = [parts[0], "mid", kind, *parts[4:]]
        key = ".".join(parts).replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if ".attn_1." in key:
            for own, other in {
                "group_norm": "norm",
                "to_q": "q",
                "to_k": "k",
                "to_v": "v",
                "to_out.0": "proj_out",
            }.items():
                key = key.replace(f".{own}.", f".{other}.")
            if value.ndim == 2:
                value = value[:, :, None, None]
        found[key] = value
    return found


def _plain_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return _under("transformer.text_model.", {key.removeprefix("text_model."): tensors[key] for key in tensors})


def _open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = {key.removeprefix("text_model."): value for key, value in tensors.items()}
    found = {
        "positional_embedding": tensors["embeddings.position_embedding.weight"],
        "token_embedding.weight": tensors["embeddings.token_embedding.weight"],
        "ln_final.weight": tensors["final_layer_norm.weight"],
        "ln_final.bias": tensors["final_layer_norm.bias"],
    }
    for key, value in tensors.items():
        if not key.startswith("encoder.layers."):
            continue
        layer, rest = key.removeprefix("encoder.layers.").split(".", 1)
        place = f"transformer.resblocks.{layer}."
        if rest.startswith("self_attn.q_proj"):
            kind = rest.rsplit(".", 1)[1]
            three = [tensors[key.replace("q_proj", f"{name}_proj")] for name in "qkv"]
            found[f"{place}attn.in_proj_{kind}"] = torch.cat(three)
        elif not rest.startswith("self_attn.") or "out_proj" in rest:
            for own, other in _CLIP.items():
                rest = rest.replace(own, other)
            found[place + rest] = value
    width = found["ln_final.weight"].shape[0]
    found["text_projection"] = torch.eye(width)
    return _under("model.", found)
