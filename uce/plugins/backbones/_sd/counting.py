"""What a UNet's training pass keeps and computes, counted on tensors without memory at the model's own shapes.

Legend: B 1; H heads; Q queries; K keys; d width of a head.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from uce.core.model import Costs
from uce.plugins.backbones._sd.checkpointing import BLOCKS

KNOWN = Path(__file__).parent / "costs.json"
"""Counts of the published shapes, per byte of a number, since counting takes seconds: `python -m` this module."""
_SHAPE = ("block_out_channels", "layers_per_block", "cross_attention_dim", "transformer_layers_per_block",
          "in_channels", "down_block_types", "up_block_types", "addition_embed_type")  # fmt: skip


def shape_key(unet: Any, side: int) -> str:
    """What the counts depend on, as a key of `KNOWN`."""
    return json.dumps([side, *(unet.config[name] for name in _SHAPE)], separators=(",", ":"))


def count_costs(
    unet: Any, vae: Any, weights: Mapping[str, int], side: int, added: Mapping[str, int], *, quick: bool = False
) -> Costs | None:
    """Costs of a model whose latents have `side` cells.

    Args:
        added: widths of further conditions.
        quick: only look the counts up; None where they are not known.
    """
    known = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.is_file() else {}
    counts = known.get(shape_key(unet, side))
    if counts is None:
        if quick:
            return None
        counts = count_unet(unet, side, added)
    number = next(unet.parameters()).dtype.itemsize
    kept, kept_twice, largest = (int(counts[name] * number) for name in ("kept", "kept_checkpointed", "largest"))
    width = vae.dtype.itemsize
    pixels = side * 2 ** (len(vae.config.block_out_channels) - 1)
    # the widest of the decoder's maps at the picture's own side, three of them at once
    maps = 3 * vae.config.block_out_channels[min(1, len(vae.config.block_out_channels) - 1)] * width
    tile = pixels // 2
    picture = 3 * 4 * pixels**2
    return Costs(
        weights=weights,
        kept=kept,
        kept_checkpointed=kept_twice,
        largest=largest,
        decode=maps * pixels**2 + picture,
        decode_tiled=maps * tile**2 + 2 * picture,
        forward=counts["forward"],
        cells=counts["cells"],
    )


class _Kept:
    """Storages that a pass keeps, by the block that it was in."""

    def __init__(self, own: set[int]) -> None:
        self.own, self.block = own, ""
        self.by_block: dict[str, dict[int, Tensor]] = {}
        self.inputs: dict[int, Tensor] = {}
        self.cells = 0

    def note(self, value: Tensor, kept: dict[int, Tensor]) -> None:
        storage = value.untyped_storage()._cdata
        if storage not in self.own:
            kept.setdefault(storage, value)

    def pack(self, value: Tensor) -> Tensor:
        self.note(value, self.by_block.setdefault(self.block, {}))
        return value


def _bytes(kept: Mapping[int, Tensor]) -> int:
    return sum(value.untyped_storage().nbytes() for value in kept.values())


def count_unet(unet: Any, side: int, added: Mapping[str, int]) -> dict[str, Any]:
    """Bytes per byte of a number, FLOPs and cells, counted."""
    dtype = next(unet.parameters()).dtype
    with torch.device("meta"):
        twin: Any = nn.Module.to(type(unet).from_config(unet.config), dtype)
        twin.requires_grad_(False).eval()
        noisy = torch.empty(1, unet.config.in_channels, side, side, dtype=dtype)
        states = torch.empty(1, 77, unet.config.cross_attention_dim, dtype=dtype, requires_grad=True)
        more = {name: torch.empty(1, width, dtype=dtype) for name, width in added.items()}
        time = torch.zeros(1, dtype=torch.int64)
    kept = _Kept({value.untyped_storage()._cdata for value in twin.parameters()})
    with _blocks_noted(twin, kept), FlopCounterMode(display=False) as counter, _fused_attention(kept) as attention:
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda value: value):
            output = twin(noisy, time, encoder_hidden_states=states, added_cond_kwargs=more or None, return_dict=False)[
                0
            ]
        del output
    everything: dict[int, Tensor] = {}
    for part in kept.by_block.values():
        everything |= part
    outside = kept.by_block.get("", {}) | kept.inputs
    inside = max((_bytes(part) for name, part in kept.by_block.items() if name), default=0)
    largest = max(value.untyped_storage().nbytes() for value in everything.values())
    flops = float(counter.get_total_flops() + sum(attention))
    sizes = {"kept": _bytes(everything), "kept_checkpointed": _bytes(outside) + inside, "largest": largest}
    return {**{name: size // dtype.itemsize for name, size in sizes.items()}, "forward": flops, "cells": kept.cells}


@contextmanager
def _blocks_noted(unet: nn.Module, kept: _Kept) -> Iterator[None]:
    """Within the block, every checkpointed block of the UNet is known while it runs, and so are its inputs."""
    handles = []

    def enter(name: str) -> Any:
        def note(module: Any, args: Any, kwargs: Any) -> None:
            kept.block = name
            for value in (*args, *kwargs.values()):
                if isinstance(value, Tensor):
                    kept.note(value, kept.inputs)

        return note

    def leave(module: Any, args: Any, output: Any) -> None:
        kept.block = ""

    for name, module in unet.named_modules():
        if type(module).__name__ in BLOCKS:
            handles += [module.register_forward_pre_hook(enter(name), with_kwargs=True),
                        module.register_forward_hook(leave)]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _fused_attention(kept: _Kept) -> Iterator[list[float]]:
    """Within the block, attention keeps what a fused kernel keeps, whose FLOPs go into the list."""
    flops: list[float] = []

    def attend(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        batch, heads, queries, width = query.shape
        flops.append(4.0 * batch * heads * queries * key.shape[2] * width)
        if key.shape[2] == queries:
            kept.cells = max(kept.cells, queries)
        attended: Tensor = _Fused.apply(query, key, value)  # type: ignore[no-untyped-call]
        return attended

    with patch("torch.nn.functional.scaled_dot_product_attention", attend):
        yield flops


class _Fused(torch.autograd.Function):
    """Keeps queries, keys, values and the result, and no scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = query.new_empty(query.shape)
        ctx.save_for_backward(query, key, value, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _main() -> None:
    """Count the published shapes anew and write KNOWN."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from uce.plugins.backbones._sd.single_file import CONFIGS, read_config

    xl = Path(__file__).parents[1] / "_sdxl" / "configs"
    found = {}
    for folder in (*(CONFIGS / kind for kind in ("sd15", "sd21-base", "sd21")), xl):
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(read_config(folder / "unet" / "config.json"))
        side = int(unet.config.sample_size)
        added = {"text_embeds": 1280, "time_ids": 6} if folder == xl else {}
        found[shape_key(unet, side)] = count_unet(unet, side, added)
    KNOWN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
