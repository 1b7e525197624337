"""From passes of a transformer in which text and picture attend together to one affinity and one saliency map.

Legend: N cells, T text positions, A layers that are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from glob import escape
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from uce.core.errors import StageInputError
from uce.core.flow.data import AttentionMaps
from uce.core.model.abilities import joint_layers, middle_layers
from uce.core.model.aggregate import normalize_rows, saliency_from
from uce.core.model.backbone import Backbone, Capture, LayerMap

Grid = tuple[int, int]


@dataclass(frozen=True)
class JointReading:
    """What is read of the chosen layers.

    Attributes:
        path: "picture": how cells attend to each other; "text": from cells to the text and back to cells.
        layers: names.
        reference: the layer that the others should agree with: each counts by that. None: all count alike.
        each: every layer's rows are divided by their sums first, so that layers count alike.
        saliency: attention to the whole empty text, or to where it ends.
    """

    path: Literal["picture", "text"]
    layers: tuple[str, ...]
    reference: str | None
    each: bool
    saliency: Literal["text", "end"]


def chosen_layers(backbone: Backbone, blocks: Sequence[int] | None) -> tuple[str, ...]:
    """Names of the layers of these blocks, counted as they run; the middle ones where nobody chooses.

    Raises:
        StageInputError: the model is no transformer of this kind, or has no such block.
    """
    names = joint_layers(backbone)
    if not names:
        raise StageInputError(
            f"model '{backbone.model}' has no layers in which text and picture attend together; choose --extractor "
            "self-attention"
        )
    wrong = [block for block in blocks or () if not 0 <= block < len(names)]
    if wrong:
        raise StageInputError(f"the model has no block {wrong[0]}; extractor.blocks: 0 to {len(names) - 1}")
    return tuple(names[block] for block in blocks) if blocks else middle_layers(backbone) or ()


def read_joint_maps(
    backbone: Backbone, noisy: Tensor, timestep: int, layers: Sequence[str], *kinds: Literal["self", "cross", "text"]
) -> list[LayerMap]:
    """Slices of the layers' maps in one pass under the empty prompt."""
    names = tuple(map(escape, layers))
    conditioning = backbone.encode_prompts([backbone.tokenize("")])
    with torch.no_grad(), backbone.capture(*(Capture(kind, layers=names) for kind in kinds)) as maps:
        backbone.predict(noisy, torch.full((1,), timestep), conditioning)
    return maps


def joint_attention(
    backbone: Backbone, passes: Callable[[], Sequence[Tensor]], timestep: int, reading: JointReading
) -> AttentionMaps:
    """Affinity and saliency, each the mean over layers and passes.

    Args:
        passes: the noised latents (1, C, h, w) of every pass.
    """
    affinity, saliency, grid = None, None, (0, 0)
    for noisy in passes():
        kinds: tuple[Literal["self", "cross", "text"], ...]
        kinds = ("self", "cross") if reading.path == "picture" else ("cross", "text")
        maps = read_joint_maps(backbone, noisy, timestep, reading.layers, *kinds)
        grid = maps[0].grid
        layers = combined(_affinities(maps, reading), reading)
        attention = text_attention(backbone, maps, reading.saliency)
        affinity = layers if affinity is None else affinity.add_(layers)
        saliency = attention if saliency is None else saliency + attention
    assert affinity is not None and saliency is not None
    return AttentionMaps(affinity=normalize_rows(affinity), saliency=saliency_from(saliency.reshape(grid), grid))


def _affinities(maps: Sequence[LayerMap], reading: JointReading) -> dict[str, Tensor]:
    """Per layer float32 (N, N)."""
    if reading.path == "picture":
        return {layer.name: layer.probs[0] for layer in maps if layer.kind == "self"}
    back = {layer.name: layer.probs[0] for layer in maps if layer.kind == "text"}
    return {layer.name: layer.probs[0] @ back[layer.name] for layer in maps if layer.kind == "cross"}


def combined(affinities: dict[str, Tensor], reading: JointReading) -> Tensor:
    """The weighted mean of the layers' affinities, in place of the first one."""
    if reading.each or reading.reference is not None:
        affinities = {name: normalize_rows(rows) for name, rows in affinities.items()}
    weights = agreements(affinities, reading.reference)
    total: Tensor | None = None
    for name, rows in affinities.items():
        part = rows * (weights[name] / sum(weights.values()))
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def agreements(affinities: dict[str, Tensor], reference: str | None) -> dict[str, float]:
    """How much each layer counts: its rows' mean cosine with the reference's, 1 where there is none.

    Source: the idea of weighting layers by agreement with a reference layer is GoCA's (CVPR 2026); this measure is our
    own.
    """
    if reference is None:
        return dict.fromkeys(affinities, 1.0)
    wanted = normalize(affinities[reference], dim=1)
    return {name: float((normalize(rows, dim=1) * wanted).sum(dim=1).mean()) for name, rows in affinities.items()}


def text_attention(backbone: Backbone, maps: Sequence[LayerMap], where: Literal["text", "end"]) -> Tensor:
    """Attention of every cell to the empty text, mean over layers, float32 (N,)."""
    cross = [layer.probs[0] for layer in maps if layer.kind == "cross"]
    place = backbone.tokenize("").ending
    each = [rows.sum(dim=1) if where == "text" else rows[:, place] for rows in cross]
    return torch.stack(each).mean(dim=0)


def likeness(cells_NC: Tensor, temperature: float) -> Tensor:
    """Softmax over cells of their cosine, float32 (N, N)."""
    cells_NC = normalize(cells_NC.float(), dim=1)
    return (cells_NC @ cells_NC.T).div_(temperature).softmax(dim=1)


MASSIVE = 8.0
"""A channel this many times as strong as the median channel says nothing about where things are."""


def without_massive(cells_NC: Tensor) -> Tensor:
    """Without the few channels whose activations dwarf all others.

    Source: Gan et al., "Unleashing Diffusion Transformers for Visual Correspondence" (DiTF), 2025; the bound is ours.
    """
    strength = cells_NC.abs().mean(dim=0)
    kept = strength <= MASSIVE * strength.median()
    return cells_NC[:, kept]
