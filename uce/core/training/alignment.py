"""The attention term: a token's cross-attention should look like its concept's affinity map.

Both live at one layer side (16 x 16 cells on Stable Diffusion at 512 pixels): the largest side of at most 16 cells that
the UNet has, else its smallest. Maps get there by nearest neighbour, as in the paper: every fourth cell of 64 x 64.
The attention is averaged over heads and layers of the down and up blocks (the mid block only where nothing else is).

Legend: B prompts; M token positions per prompt; K concepts; n cells of the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.data import Concepts
from uce.core.model.abilities import middle_layers
from uce.core.model.backbone import Backbone, Capture, LayerMap, Prompt
from uce.core.training.options import TrainingOptions
from uce.core.training.sinkhorn import kl, sinkhorn

REG = 1e-3
LARGEST_SIDE = 16


def choose_layers(maps: Sequence[LayerMap], side: int = 0) -> tuple[tuple[int, int], frozenset[str]]:
    """Grid and names of the cross-attention layers to align.

    Args:
        maps: one map of every cross-attention layer.
        side: wanted cells along the longer side; 0 chooses.

    Raises:
        StageInputError: the UNet has no cross-attention, or none at `side`.
    """
    sides = sorted({max(layer.grid) for layer in maps})
    if not sides:
        raise StageInputError("the model has no cross-attention to align; set optimizer.attention_weight=0")
    if side and side not in sides:
        allowed = ", ".join(map(str, sides))
        raise StageInputError(
            f"no cross-attention layer has {side} cells per side; optimizer.alignment_side: {allowed}"
        )
    chosen = side or max([s for s in sides if s <= LARGEST_SIDE], default=sides[0])
    layers = [layer for layer in maps if max(layer.grid) == chosen]
    outer = [layer for layer in layers if not layer.name.startswith("mid_block")] or layers
    return outer[0].grid, frozenset(layer.name for layer in outer)


def average_layers(maps: Sequence[LayerMap]) -> Tensor:
    """Mean over all heads of all layers: (B, n, M)."""
    weights = [layer.heads for layer in maps]
    total = maps[0].probs * weights[0]
    for layer, weight in zip(maps[1:], weights[1:], strict=True):
        total = total + layer.probs * weight
    return total / sum(weights)


def resize_maps(maps_KN: Tensor, grid: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Concept maps on `grid`, nearest neighbour on `to`: (K, h, w)."""
    return F.interpolate(maps_KN.reshape(1, -1, *grid).float(), size=to, mode="nearest")[0]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Everything fixed about the attention term.

    Attributes:
        grid: (h, w) of the aligned layers.
        layers: their names.
        targets: (2, K, n): the concepts' maps as they are and mirrored.
        distance: "sinkhorn" or "kl".
        iterations: of Sinkhorn.
    """

    grid: tuple[int, int]
    layers: frozenset[str]
    targets: Tensor
    distance: str
    iterations: int

    @classmethod
    def prepare(cls, backbone: Backbone, concepts: Concepts, probe: Prompt, options: TrainingOptions) -> Self:
        """Find the layers with one UNet pass without gradient on an empty latent."""
        side, device = backbone.latent_side, backbone.device
        empty = torch.zeros(1, backbone.latent_channels, side, side, device=device)
        with torch.no_grad(), backbone.capture(Capture("cross", layers=middle_layers(backbone))) as maps:
            timestep = torch.zeros(1, dtype=torch.int64, device=device)
            backbone.predict(empty, timestep, backbone.encode_prompts([probe]))
            grid, layers = choose_layers(maps, options.alignment_side)
        targets_Khw = resize_maps(concepts.maps, concepts.grid, grid).to(device)
        targets_2Kn = torch.stack([targets_Khw, targets_Khw.flip(-1)]).flatten(2)
        return cls(grid, layers, targets_2Kn, options.alignment, options.alignment_iterations)

    def capture(self, columns_BM: Tensor) -> Capture:
        """What to ask the backbone for: the tokens' columns at this side."""
        names = tuple(map(escape, sorted(self.layers)))
        return Capture("cross", sides=frozenset({max(self.grid)}), columns=columns_BM, layers=names)

    def losses(self, maps: Sequence[LayerMap], pairs: Sequence[tuple[int, int, int, int]]) -> Tensor:
        """Loss of every shown token, (len(pairs),).

        Args:
            maps: captured with `capture`.
            pairs: (prompt of the batch, column of the capture, flip 0 or 1, concept).
        """
        attention_BnM = average_layers([layer for layer in maps if layer.name in self.layers])
        prompt, column, flip, concept = torch.tensor(pairs).T.to(attention_BnM.device, non_blocking=True)
        attention_Pn = attention_BnM[prompt, :, column]
        return self.distances(self.targets[flip, concept], attention_Pn)

    def distances(self, target_Pn: Tensor, attention_Pn: Tensor) -> Tensor:
        """The chosen distance of each pair; "kl" is put on Sinkhorn's scale, so that one weight serves both."""
        if self.distance == "kl":
            return kl(target_Pn, attention_Pn) * (REG * self.iterations)
        return sinkhorn(target_Pn, attention_Pn, self.grid, REG, self.iterations)
