"""Where the tensors of a diffusers model stand in an original single-file checkpoint.

Every tensor of a part has an `Origin`: the names that files give it, the first found counts. Whatever no origin asked
for is left over, and `single_file` decides whether it may be ignored. Tested against diffusers' own conversion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model."


@dataclass(frozen=True)
class Origin:
    """Where one tensor comes from.

    Attributes:
        names: in the file, the first that is there.
        third: which third of the rows, where a file stacks query, key and value.
        turned: whether the first name holds the matrix transposed.
    """

    names: tuple[str, ...]
    third: int | None = None
    turned: bool = False


Origins = dict[str, Origin]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {
    "group_norm": ("norm", "group_norm"),
    "to_q": ("q", "to_q", "query"),
    "to_k": ("k", "to_k", "key"),
    "to_v": ("v", "to_v", "value"),
    "to_out.0": ("proj_out", "to_out.0", "proj_attn"),
}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def unet_origins(unet: Any) -> Origins:
    """Of a UNet2DConditionModel, whose blocks single files number through."""
    per_level = unet.config.layers_per_block + 1
    with_attention = [hasattr(block, "attentions") for block in unet.up_blocks]

    def place(own: str) -> str:
        block, index = (int(number) for number in re.findall(r"\.(\d+)", own)[:2]) if "blocks" in own else (0, 0)
        if own.startswith("down_blocks"):
            if "downsamplers" in own:
                return re.sub(r"^.*conv", f"input_blocks.{per_level * (block + 1)}.0.op", own)
            return _block(own, f"input_blocks.{per_level * block + index + 1}")
        if own.startswith("up_blocks"):
            if "upsamplers" in own:
                last = per_level * (block + 1) - 1
                return re.sub(r"^.*conv", f"output_blocks.{last}.{1 + with_attention[block]}.conv", own)
            return _block(own, f"output_blocks.{per_level * block + index}")
        if own.startswith("mid_block"):
            kind, number, rest = re.fullmatch(r"mid_block\.(\w+)\.(\d+)\.(.*)", own).groups()  # type: ignore[union-attr]
            return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{_inner(kind, rest)}"
        stem, kind = own.rsplit(".", 1)
        return f"{_UNET_ENDS[stem]}.{kind}"

    return _origins(unet, lambda own: Origin((UNET + place(own),)))


def _block(own: str, place: str) -> str:
    kind, rest = re.fullmatch(r"\w+\.\d+\.(\w+)\.\d+\.(.*)", own).groups()  # type: ignore[union-attr]
    return f"{place}.{int(kind == 'attentions')}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    stem, last = rest.rsplit(".", 1)
    return f"{_RESNET[stem]}.{last}"


def vae_origins(vae: Any, prefix: str = VAE) -> Origins:
    """Of an AutoencoderKL in its original layout, whose decoder counts its levels from the picture."""
    levels = len(vae.config.block_out_channels)

    def origin(own: str) -> Origin:
        found = re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(\w+?)s\.(\d+)\.(.*)", own)
        if found:
            side, way, level, kind, number, rest = found.groups()
            level = level if way == "down" else str(levels - 1 - int(level))
            kind = f"block.{number}" if kind == "resnet" else kind.removesuffix("r")
            return Origin((f"{prefix}{side}.{way}.{level}.{kind}.{rest.replace('conv_shortcut', 'nin_shortcut')}",))
        found = re.fullmatch(r"(encoder|decoder)\.mid_block\.(\w+?)s\.(\d+)\.(.*)", own)
        if found is None:
            return Origin((prefix + own.replace("conv_norm_out", "norm_out"),))
        side, kind, number, rest = found.groups()
        if kind == "resnet":
            rest = rest.replace("conv_shortcut", "nin_shortcut")
            return Origin((f"{prefix}{side}.mid.block_{int(number) + 1}.{rest}",))
        stem, last = rest.rsplit(".", 1)
        return Origin(tuple(f"{prefix}{side}.mid.attn_1.{name}.{last}" for name in _VAE_ATTENTION[stem]))

    return _origins(vae, origin)


def clip_origins(text_encoder: Any, prefixes: Iterable[str]) -> Origins:
    """Of a text encoder in transformers' own layout, under any of `prefixes`; old merges leave "text_model." out."""
    heads = [f"{prefix}{middle}" for prefix in prefixes for middle in ("text_model.", "")]
    return _origins(
        text_encoder, lambda own: Origin(tuple(f"{head}{own.removeprefix('text_model.')}" for head in heads))
    )


def open_clip_origins(text_encoder: Any, prefix: str) -> Origins:
    """Of a text encoder in OpenCLIP's layout, which stacks query, key and value."""
    fixed = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }

    def origin(own: str) -> Origin:
        own = own.removeprefix("text_model.")
        if own in fixed:
            return Origin((prefix + fixed[own],))
        if own == "text_projection.weight":  # a plain matrix, applied from the right, or the layer itself
            return Origin((f"{prefix}text_projection", f"{prefix}text_projection.weight"), turned=True)
        layer, rest = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", own).groups()  # type: ignore[union-attr]
        place = f"{prefix}transformer.resblocks.{layer}."
        stacked = re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", rest)
        if stacked:
            return Origin((f"{place}attn.in_proj_{stacked[2]}",), third="qkv".index(stacked[1]))
        stem, last = rest.rsplit(".", 1)
        return Origin((f"{place}{_OPEN_CLIP[stem]}.{last}",))

    return _origins(text_encoder, origin)


def own_origins(module: Any, prefix: str = "") -> Origins:
    """Of a module whose tensors have their own names in the file."""
    return _origins(module, lambda own: Origin((prefix + own,)))


def with_old_attention(origin: Origin) -> Origin:
    """Old diffusers files name the VAE's attention query, key, value and proj_attn."""
    found = re.fullmatch(r"(.*mid_block\.attentions\.0\.)(to_q|to_k|to_v|to_out\.0)(\.\w+)", origin.names[0])
    if found is None:
        return origin
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}[found[2]]
    return Origin((*origin.names, f"{found[1]}{old}{found[3]}"))


def _origins(module: Any, origin: Callable[[str], Origin]) -> Origins:
    return {own: origin(own) for own in module.state_dict()}
