"""Losses that ground attention in the scene: composed scenes know which cell shows which object.

Small auxiliary terms on the attention probabilities of a few low-noise pictures of each batch:
- self-attention of a cell stays within its own instance (background is one instance too);
- cross-attention of a word that mentions an object lies on that object's cells;
- under the empty prompt the end-of-text token is attended from object cells, not from background,
  which is what the saliency filter reads.

Legend: n pictures, N cells, T text positions, C instances with background first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional

EPS = 1e-4


@dataclass
class Recorder:
    """Attention probabilities, averaged over heads, of the first `count` pictures of a batch."""

    count: int = 0
    self_maps: list[Tensor] = field(default_factory=list)  # (n, N, N)
    cross_maps: list[Tensor] = field(default_factory=list)  # (n, N, T)

    def clear(self) -> None:
        """Forget the last batch."""
        self.self_maps.clear()
        self.cross_maps.clear()


class RecordingProcessor:
    """Attention that keeps the probabilities of the first few pictures.

    On the CPU all attention is plain: the backward pass of fused attention alone took 30% of an update.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: object
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(x: Tensor) -> Tensor:
            return x.view(*x.shape[:-1], int(attn.heads), -1).transpose(1, 2)

        q, k, v = heads(attn.to_q(hidden_states)), heads(attn.to_k(context)), heads(attn.to_v(context))
        count = self.recorder.count
        fused = q.is_cuda
        shown = slice(count if fused else None)
        probabilities = (q[shown] * q.shape[-1] ** -0.5 @ k[shown].transpose(-1, -2)).softmax(-1)
        if count:
            maps = probabilities[:count].float().mean(1)
            (self.recorder.self_maps if encoder_hidden_states is None else self.recorder.cross_maps).append(maps)
        out = functional.scaled_dot_product_attention(q, k, v) if fused else probabilities.to(v.dtype) @ v
        result: Tensor = attn.to_out[0](out.transpose(1, 2).flatten(2))
        return result


def attach(unet: UNet2DConditionModel) -> Recorder:
    """Record every attention layer of a UNet."""
    recorder = Recorder()
    unet.set_attn_processor(RecordingProcessor(recorder))
    return recorder


def weighted_error(got: Tensor, wanted: Tensor, labels: Tensor, objects: float) -> Tensor:
    """Mean squared error in which cells that show an object weigh `objects` times: these are what is hard.

    Args:
        got, wanted: (B, C, h, w).
        labels: (B, h, w), 0 where there is no object.
    """
    shown = functional.interpolate((labels[:, None] > 0).float(), got.shape[-2:])
    weight = 1 + (objects - 1) * shown
    error = ((got - wanted).square() * weight).sum((1, 2, 3)) / weight.expand_as(got).sum((1, 2, 3))
    return error.mean()


def instance_shares(labels: Tensor, most: int, side: int) -> Tensor:
    """labels (n, h, w) to the share of each instance in each cell of a coarser grid: (n, side * side, C)."""
    one_hot = functional.one_hot(labels.long(), most + 1).permute(0, 3, 1, 2).float()
    return functional.adaptive_avg_pool2d(one_hot, side).flatten(2).transpose(1, 2)


def self_loss(maps: list[Tensor], labels: Tensor, most: int) -> Tensor:
    """Mean of -log(attention that stays within the instance), every instance weighing the same."""
    losses, weights = [], []
    for map_nNN in maps:
        side = round(map_nNN.shape[1] ** 0.5)
        shares = instance_shares(labels, most, side)
        stays = ((map_nNN @ shares) * shares).sum(-1).clamp(min=EPS)
        area = shares.sum(1, keepdim=True)
        weight = (shares / area.clamp(min=0.5)).sum(-1)
        losses.append((-stays.log() * weight).sum() / weight.sum())
        weights.append(side)
    return _weighted(losses, weights)


def mention_loss(maps: list[Tensor], labels: Tensor, mentioned: Tensor) -> Tensor:
    """Mean of -log(share of a mention's attention that lies on its objects).

    Args:
        mentioned: bool (n, T, C): the instances that a text position mentions.
    """
    losses, weights = [], []
    active = mentioned.any(-1)
    for map_nNT in maps:
        side = round(map_nNT.shape[1] ** 0.5)
        target = mentioned.float() @ instance_shares(labels, mentioned.shape[-1] - 1, side).transpose(1, 2)
        attention = map_nNT.transpose(1, 2)
        share = (attention * target).sum(-1) / attention.sum(-1).clamp(min=EPS)
        losses.append(-(share.clamp(min=EPS).log() * active).sum() / active.sum().clamp(min=1))
        weights.append(side)
    return _weighted(losses, weights)


def saliency_loss(maps: list[Tensor], labels: Tensor, most: int, position: int, high: float = 0.9) -> Tensor:
    """Cross entropy of the attention to a position: `high` where a cell shows an object, .05 elsewhere."""
    losses, weights = [], []
    for map_nNT in maps:
        side = round(map_nNT.shape[1] ** 0.5)
        shows = 1 - instance_shares(labels, most, side)[..., 0]
        attention = map_nNT[..., position].clamp(EPS, 1 - EPS)
        target = 0.05 + (high - 0.05) * shows
        losses.append(-(target * attention.log() + (1 - target) * (1 - attention).log()).mean())
        weights.append(side)
    return _weighted(losses, weights)


def _weighted(losses: list[Tensor], weights: list[int]) -> Tensor:
    total = torch.stack([loss * weight for loss, weight in zip(losses, weights, strict=True)]).sum()
    return total / sum(weights)
