"""Joint attention that notes what the grounding losses look at.

Without T5 the pipeline of Stable Diffusion 3 lets the picture attend to 256 positions of zeros. Equal tokens stay equal
through every block, so while training one position stands for all of them: its key counts `log 256` more, which is the
same attention at a third of the length.

Legend: B pictures, n of them grounded; H heads; N cells; T text positions, the last one the silent one; S = N + T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional

from recipes.mini.grounding import Recorder
from recipes.mini_dit.model import SILENT


class JointRecordingProcessor:
    """What diffusers' `JointAttnProcessor2_0` computes, with one silent position, and the maps of a few pictures."""

    def __init__(self, recorder: Recorder, recorded: bool) -> None:
        self.recorder, self.recorded = recorder, recorded

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor, ...]:
        num_cells = hidden_states.shape[1]
        q, k, v = (_together(attn, name, hidden_states, encoder_hidden_states) for name in ("q", "k", "v"))
        weight = q.new_zeros(q.shape[-2])
        weight[-1] = math.log(SILENT)
        if self.recorded and self.recorder.count:
            self._note(q, k, weight, num_cells)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=weight.expand(1, 1, q.shape[-2], -1))
        out = out.transpose(1, 2).flatten(2).to(q.dtype)
        cells, text = out[:, :num_cells], out[:, num_cells:]
        if not attn.context_pre_only:
            text = attn.to_add_out(text)
        return attn.to_out[0](cells), text

    def _note(self, q: Tensor, k: Tensor, weight: Tensor, num_cells: int) -> None:
        count = self.recorder.count
        scores = q[:count, :, :num_cells] @ k[:count].transpose(-1, -2) * q.shape[-1] ** -0.5 + weight
        maps = scores.float().softmax(-1).mean(1)
        between = maps[..., :num_cells]
        self.recorder.self_maps.append(between / between.sum(-1, keepdim=True))
        self.recorder.cross_maps.append(maps[..., num_cells:])


def _together(attn: Attention, name: str, cells: Tensor, text: Tensor) -> Tensor:
    """Queries, keys or values (B, H, S, d) of cells and text."""

    def heads(x: Tensor, norm: str) -> Tensor:
        split = x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        own = getattr(attn, norm, None)
        return split if own is None else own(split)

    own = heads(getattr(attn, f"to_{name}")(cells), f"norm_{name}")
    added = heads(getattr(attn, f"add_{name}_proj")(text), f"norm_added_{name}")
    return torch.cat([own, added.to(own.dtype)], dim=2)


def attach(transformer: SD3Transformer2DModel, blocks: Sequence[int]) -> Recorder:
    """Record these blocks; every block reads one silent position for all."""
    recorder = Recorder()
    for number, block in enumerate(transformer.transformer_blocks):
        block.attn.processor = JointRecordingProcessor(recorder, number in blocks)
    return recorder
