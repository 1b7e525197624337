"""What a model attends to in a picture, for extractors of your own: read chosen layers in one pass, then average them.

    maps = read_attention(backbone, image, layers=("mid*", "up.1*"))
    affinity = to_grid(maps, grid=(16, 16))

Legend: N cells of the grid, N = h * w, row-major; n cells of a layer; L text positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.context import Context
from uce.core.flow.picture import Picture
from uce.core.model.aggregate import Grid, aggregate_self_attention, enlarge, normalize_rows, saliency_from
from uce.core.model.backbone import Backbone, Capture, LayerMap, layer_fits
from uce.core.model.latents import encode_picture
from uce.core.model.unet_maps import noised


@torch.no_grad()
def read_attention(
    backbone: Backbone,
    image: Picture,
    *,
    kind: Literal["self", "cross"] = "self",
    layers: str | Sequence[str] | None = None,
    timestep: int = 0,
    context: Context | None = None,
    prompt: str = "",
) -> list[LayerMap]:
    """The attention of chosen layers in one pass of the model over the picture.

    Args:
        image: `image.at(side)` shows it at another size.
        kind: "self": cells to cells, probs (1, n, n); "cross": cells to the text, probs (1, n, L).
        layers: patterns of names, in full or in short, such as "mid*", "up.1*" or "*attn1"; None or "*": all.
        timestep: how much noise the picture is shown with; 0: none.
        context: where that noise comes from; None: from seed 0.
        prompt: the text that the model reads meanwhile.

    Returns:
        one map per layer in the order in which they run, on the model's device, without gradient.

    Raises:
        StageInputError: no layer fits the patterns, or the model has no such timestep.
    """
    if not 0 <= timestep < backbone.num_timesteps:
        raise StageInputError(f"timestep must be from 0 to {backbone.num_timesteps - 1}, found {timestep}")
    patterns = ("*",) if layers is None else (layers,) if isinstance(layers, str) else tuple(layers)
    latents = encode_picture(backbone, image.pixels)
    noisy = noised(backbone, latents, timestep, context or Context(seed=0, stage="extractor"), "read attention")
    conditioning = backbone.encode_prompts([backbone.tokenize(prompt)])

    def one_pass(request: Capture) -> list[LayerMap]:
        with backbone.capture(request) as maps:
            backbone.predict(noisy, torch.full((1,), timestep), conditioning)
        return [layer for layer in maps if layer.kind == kind]

    wanted = None if "*" in patterns else patterns
    found = [m for m in one_pass(Capture(kind, layers=wanted)) if any(layer_fits(m.name, p) for p in patterns)]
    if not found:
        known = ", ".join(dict.fromkeys(layer.name for layer in one_pass(Capture(kind)))) or "none"
        raise StageInputError(f"no {kind}-attention layer fits {', '.join(patterns)}; the model's layers: {known}")
    return found


def to_grid(maps: Sequence[LayerMap], grid: Grid | None = None) -> Tensor:
    """One affinity from the self-attention of several layers: resized, averaged, rows divided by their sums.

    Keys are enlarged bilinearly and queries repeated, and a layer weighs its side over the grid's, as in the extractor
    `self-attention` (ConceptExpress, arXiv 2407.07077, section 4.1); of all layers it is that extractor's affinity.

    Args:
        maps: self-attention of one picture, probs (1, n, n).
        grid: (h, w); None: the finest layer's.

    Returns:
        float32 (N, N), what `AttentionMaps` takes.

    Raises:
        StageInputError: no maps, maps of cross-attention, or of more than one picture.
    """
    for layer in maps:
        if layer.kind != "self" or layer.probs.shape[0] != 1:
            raise StageInputError(
                f"to_grid takes the self-attention of one picture, found {layer.kind}-attention of "
                f"{layer.probs.shape[0]} in layer {layer.name}; for cross-attention there is to_saliency"
            )
    return normalize_rows(aggregate_self_attention(maps, grid or max((m.grid for m in maps), default=(1, 1))))


def to_saliency(maps: Sequence[LayerMap], grid: Grid, position: int) -> Tensor:
    """How much the cells attend to one position of the text: resized, averaged, stretched to [0, 1].

    Args:
        maps: cross-attention of one picture, probs (1, n, L).
        grid: (h, w).
        position: such as the end of an empty text, `backbone.tokenize("").end[backbone.encoders[0]]`, which is what the
            paper takes for what stands out.

    Returns:
        float32 (h, w), what `AttentionMaps` takes; zeros where all cells attend alike.

    Raises:
        StageInputError: no maps, maps of self-attention, or no such position.
    """
    for layer in maps:
        if layer.kind != "cross" or not 0 <= position < layer.probs.shape[2]:
            raise StageInputError(
                f"to_saliency takes cross-attention and one of its text positions, found {layer.kind}-attention to "
                f"{layer.probs.shape[2]} and position {position} in layer {layer.name}"
            )
    if not maps:
        raise StageInputError("the model has no cross-attention layers to read saliency from; choose another extractor")
    each = [enlarge(layer.probs[:, :, position].float(), layer.grid, grid)[0] for layer in maps]
    return saliency_from(torch.stack(each).mean(dim=0), grid)
