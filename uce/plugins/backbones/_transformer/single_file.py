"""A transformer as one .safetensors file, in the original layout or in diffusers', and a VAE beside it.

Such files hold no text encoders (and mostly no VAE): `model.text_encoders` and `model.vae` name them. Everything about
the transformer's shape is read off its tensors; fp8 weights are widened to the run's precision as they are read.

Source: the names of tensors, as diffusers' own converters know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.files import read_header
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.parts import guarded, vae_dtype
from uce.plugins.backbones._transformer.loading import (
    Layout,
    TransformerParts,
    load_text,
    load_vae,
    transformer_class,
)
from uce.plugins.backbones._transformer.vae_file import VAE_PREFIX, vae_from_file

PREFIX = "model.diffusion_model."
_MARKS = {  # a tensor that only this family has, in the original layout and in diffusers'
    "FluxTransformer2DModel": ("double_blocks.0.img_attn.qkv.weight", "single_transformer_blocks.0.attn.to_q.weight"),
    "SD3Transformer2DModel": (
        "joint_blocks.0.x_block.attn.qkv.weight",
        "transformer_blocks.0.norm1_context.linear.weight",
    ),
}
FLUX_SCHEDULER = {"base_shift": 0.5, "max_shift": 1.15, "shift": 3.0, "use_dynamic_shifting": True}
SCHNELL_SCHEDULER = {"shift": 1.0, "use_dynamic_shifting": False}
SD3_SCHEDULER = {"shift": 3.0}


def load_single_file(model: str, path: Path, layout: Layout, settings: Any, precision: str) -> TransformerParts | None:
    """Load a transformer from `path`, and text encoders and VAE from where the settings say; None for another family.

    Raises:
        ModelError: damaged, or the other parts are not named.
    """
    keys = read_header(path, model).shapes
    names = {key.removeprefix(PREFIX) for key in keys}
    original, diffused = _MARKS[layout.transformer]
    if original not in names and not (diffused in names and _is_diffusers(layout, names)):
        return None
    whole = any(key.startswith(VAE_PREFIX) for key in keys)
    _require_others(model, layout, settings, whole)
    dtype = resolve_dtype(precision)
    tensors = _read(path, model, dtype)
    transformer = transformer_from(
        {k.removeprefix(PREFIX): v for k, v in tensors.items() if not k.startswith(VAE_PREFIX)}, layout, dtype, model
    )
    vae_files: list[Path] = []
    if whole and not getattr(settings, "vae", None):
        vae = vae_from_file(path, model, vae_dtype(dtype))
    else:
        vae, vae_files = load_vae(model, path.parent, settings, dtype)
    clips, t5, text_files = load_text(model, path.parent, layout, settings, dtype, {})
    scheduler = _scheduler(layout, transformer)
    return TransformerParts(
        model=model,
        origin=f"{path.name}, a {layout.title} transformer",
        transformer=transformer,
        vae=vae,
        clips=clips,
        t5=t5,
        scheduler=scheduler,
        fingerprint=fingerprint_files([path, *vae_files, *text_files], [dict(transformer.config), scheduler]),
    )


def _is_diffusers(layout: Layout, names: set[str]) -> bool:
    """FLUX's own mark is its own; that of Stable Diffusion 3 is in FLUX, too, which has single blocks besides."""
    single = any(name.startswith("single_transformer_blocks.") for name in names)
    return single == (layout.transformer == "FluxTransformer2DModel")


def _require_others(model: str, layout: Layout, settings: Any, whole: bool) -> None:
    missing = [name for name in ("text_encoders", "vae") if not getattr(settings, name, None)]
    if whole and "vae" in missing:
        missing.remove("vae")
    if missing:
        lacks = {"text_encoders": "text encoders", "vae": "VAE"}
        give = {"text_encoders": "--set model.text_encoders=FOLDER", "vae": "--set model.vae=FILE"}
        raise ModelError(
            f"model '{model}' is a {layout.title} transformer alone, without "
            f"{' and '.join(lacks[m] for m in missing)}; "
            f"say where they are with {' and '.join(give[m] for m in missing)}, or give a diffusers folder"
        )


def _read(path: Path, model: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """All tensors but the text encoders', in `dtype`."""
    from safetensors import safe_open

    def read() -> dict[str, Tensor]:
        with safe_open(str(path), framework="pt") as file:
            names = [name for name in file.keys() if not name.startswith("text_encoders.")]  # noqa: SIM118
            return {name: file.get_tensor(name).to(dtype) for name in names}

    found: dict[str, Tensor] = guarded(read, model, "file")
    return found


def transformer_from(tensors: Mapping[str, Tensor], layout: Layout, dtype: torch.dtype, model: str) -> Any:
    """The transformer with the shape that its tensors have."""
    from accelerate import init_empty_weights

    def load() -> Any:
        found = _converted(dict(tensors), layout)
        cls = transformer_class(layout)
        with init_empty_weights():
            transformer = cls(**_SHAPES[layout.transformer](found))
        transformer.load_state_dict(found, strict=False, assign=True)
        missing = [name for name, value in transformer.named_parameters() if value.is_meta]
        if missing:
            raise ModelError(
                f"model '{model}': the transformer lacks {len(missing)} tensors (first: {missing[0]}); download it "
                "again"
            )
        for name, value in list(transformer.named_buffers()):
            if value.is_meta:
                _fresh_buffers(transformer, cls(**_SHAPES[layout.transformer](found)), name)
        return transformer.to(dtype)

    return guarded(load, model, "transformer")


def _fresh_buffers(transformer: Any, other: Any, name: str) -> None:
    owner, _, own = name.rpartition(".")
    transformer.get_submodule(owner).register_buffer(own, other.get_buffer(name), persistent=False)


def _converted(tensors: dict[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    from diffusers.loaders import single_file_utils

    if _MARKS[layout.transformer][0] not in tensors:
        return tensors
    convert: Callable[..., dict[str, Tensor]] = {
        "FluxTransformer2DModel": single_file_utils.convert_flux_transformer_checkpoint_to_diffusers,
        "SD3Transformer2DModel": single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers,
    }[layout.transformer]
    return convert(tensors)


def _count(tensors: Mapping[str, Tensor], blocks: str) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith(f"{blocks}.")})


def _flux_shape(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """diffusers' configuration of a FLUX transformer, from its tensors."""
    width, channels = tensors["x_embedder.weight"].shape
    head = int(tensors["transformer_blocks.0.attn.norm_q.weight"].shape[0])
    part = 7 * head // 16 // 2 * 2  # of rotary embeddings, rows and columns have 7 / 16 each
    return {
        "in_channels": int(channels),
        "num_layers": _count(tensors, "transformer_blocks"),
        "num_single_layers": _count(tensors, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": int(width) // head,
        "joint_attention_dim": int(tensors["context_embedder.weight"].shape[1]),
        "pooled_projection_dim": int(tensors["time_text_embed.text_embedder.linear_1.weight"].shape[1]),
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in tensors,
        "axes_dims_rope": (head - 2 * part, part, part),
    }


def _sd3_shape(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """diffusers' configuration of a Stable Diffusion 3 transformer, from its tensors."""
    weight, norm = tensors["pos_embed.proj.weight"], tensors.get("transformer_blocks.0.attn.norm_q.weight")
    width, channels, patch = int(weight.shape[0]), int(weight.shape[1]), int(weight.shape[2])
    head = 64 if norm is None else int(norm.shape[0])
    layers = _count(tensors, "transformer_blocks")
    return {
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": channels,
        "num_layers": layers,
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": int(tensors["context_embedder.weight"].shape[1]),
        "caption_projection_dim": width,
        "pooled_projection_dim": int(tensors["time_text_embed.text_embedder.linear_1.weight"].shape[1]),
        "pos_embed_max_size": round(tensors["pos_embed.pos_embed"].shape[1] ** 0.5),
        "dual_attention_layers": tuple(
            i for i in range(layers) if f"transformer_blocks.{i}.attn2.to_q.weight" in tensors
        ),
        "qk_norm": None if norm is None else "rms_norm",
    }


_SHAPES: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    "FluxTransformer2DModel": _flux_shape,
    "SD3Transformer2DModel": _sd3_shape,
}


def _scheduler(layout: Layout, transformer: Any) -> dict[str, Any]:
    if layout.transformer == "SD3Transformer2DModel":
        return dict(SD3_SCHEDULER)
    return dict(FLUX_SCHEDULER if transformer.config.guidance_embeds else SCHNELL_SCHEDULER)
