"""Where in a drawn picture each token worked: cross-attention, averaged over layers and denoising steps.

Legend: Q cells of a layer, row-major; M text positions; h, w cells of the largest layer.
Source: DAAM (Tang et al., ACL 2023), section 3: maps of all layers enlarged to one size and summed over time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.core.model.backbone import Capture, LayerMap

if TYPE_CHECKING:
    from uce.core.model.backbone import Backbone

# Dark blue over violet and orange to pale yellow: equal steps look equal, and grey print keeps the order.
_STOPS = np.array([[10, 8, 40], [80, 18, 110], [160, 42, 100], [225, 85, 50], [250, 160, 20], [252, 250, 165]], float)


class TokenHeat:
    """Gathers the heat of some tokens while one picture is drawn."""

    def __init__(self, positions: Mapping[str, Sequence[int]]) -> None:
        """`positions`: token -> where it stands in the text."""
        self.tokens = list(positions)
        self.columns = torch.tensor([[place for token in self.tokens for place in positions[token]]])
        self._of = [i for i, token in enumerate(self.tokens) for _ in positions[token]]
        self._sums: dict[tuple[int, int], Tensor] = {}

    def add(self, maps: list[LayerMap]) -> None:
        """Take in one UNet pass; the last of its prompts is the one that is drawn."""
        for layer in maps:
            probs_MQ = layer.probs[-1].T.float().cpu()
            heat = torch.stack([probs_MQ[[m for m, own in enumerate(self._of) if own == i]].sum(dim=0)
                                for i in range(len(self.tokens))])  # fmt: skip
            total = self._sums.get(layer.grid)
            self._sums[layer.grid] = heat if total is None else total + heat
        maps.clear()

    def result(self) -> dict[str, np.ndarray[Any, Any]]:
        """Token -> float (h, w) in [0, 1]."""
        size = max(self._sums, key=lambda grid: grid[0] * grid[1])
        total = torch.zeros(len(self.tokens), *size)
        for grid, heat in self._sums.items():
            shaped = heat.reshape(1, len(self.tokens), *grid)
            total += torch.nn.functional.interpolate(shaped, size=size, mode="bilinear", align_corners=False)[0]
        low, high = total.amin(dim=(1, 2), keepdim=True), total.amax(dim=(1, 2), keepdim=True)
        scaled = (total - low) / (high - low).clamp_min(1e-12)
        return {token: scaled[i].numpy() for i, token in enumerate(self.tokens)}


def draw_with_heat(
    backbone: Backbone, prompt: str, tokens: Mapping[str, Mapping[str, Tensor]], **how: Any
) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    """One picture and the heat of every token in its prompt (empty where the prompt has none).

    Args:
        how: as for `backbone.generate`, with one seed.
    """
    slots: dict[str, list[int]] = {}
    for token, vectors in tokens.items():
        start = sum(map(len, slots.values()))
        slots[token] = list(range(start, start + next(iter(vectors.values())).shape[0]))
    several = getattr(backbone, "tokenize_multi", None)
    read = several(prompt, slots) if several else backbone.tokenize(prompt, {t: rows[0] for t, rows in slots.items()})
    positions = {token: [p for row in rows for p in read.positions(row)] for token, rows in slots.items()}
    positions = {token: places for token, places in positions.items() if places}
    if not positions:
        return backbone.generate([prompt], tokens, **how)[0], {}
    heat = TokenHeat(positions)
    with backbone.capture(Capture("cross", columns=heat.columns)) as maps:
        picture = backbone.generate([prompt], tokens, on_step=lambda *_: heat.add(maps), **how)[0]
        heat.add(maps)  # of a backbone that does not report its steps
    return picture, heat.result()


def paint_heat(picture: Image.Image, heat: np.ndarray[Any, Any]) -> Image.Image:
    """The picture in grey under the heat's colours."""
    large = Image.fromarray(heat.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    values = np.asarray(large).clip(0, 1)
    places = values * (len(_STOPS) - 1)
    low = places.astype(int).clip(max=len(_STOPS) - 2)
    part = (places - low)[..., None]
    colours = _STOPS[low] * (1 - part) + _STOPS[low + 1] * part
    grey = np.asarray(picture.convert("L"), float)[..., None]
    strength = 0.25 + 0.55 * values[..., None]
    mixed = grey * (1 - strength) + colours * strength
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
