"""What attends to salient cells, and where attention leads within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import AttentionMaps, Picture
    from uce.core.localisation import Floats, Masks


class SalientForeground:
    """Shows clusterers what stands out, each thing's cells alike and the background as one: for things."""

    name = "salient"

    class Settings(BaseSettings):
        steps: int = Field(
            32,
            ge=1,
            le=4096,
            description="steps of the walk over attention; more: touching things and parts of one become alike",
        )
        reach: float = Field(0.125, gt=0, le=4, description="how far a step leads: share of the grid's longer side")
        gap: float = Field(2.0, ge=0, le=10, description="how much background between two cells bars the way; 0: not")
        threshold: float = Field(
            0.8, ge=0, le=4, description="foreground: more salient than this many times Otsu's threshold"
        )
        smallest: float = Field(
            0.004, ge=0, le=1, description="least share of the picture's cells that a separate part must have"
        )
        faintest: float = Field(
            0.65, ge=0, le=1, description="drop separate parts less salient than this share of the most salient one"
        )
        outline: float = Field(
            0.5, ge=0, le=1, description="drop separate parts with no edge along more than this share of their outline"
        )
        contrast: float = Field(
            3.5,
            ge=0,
            le=100,
            description="nothing is in a picture whose strongest edges are not this many times its usual differences "
            "of colour; 0: something always is",
        )

    @hookimpl
    def uce_find_foreground(self, attention: AttentionMaps, image: Picture | None, settings: Settings) -> AttentionMaps:
        """Take the salient cells that hold together and are bounded; let attention walk among them.

        The affinity that clusterers are given says where a random walk over the attention between near cells is after
        some steps: rows of one thing's cells are alike, rows of different things differ, and all background cells have
        one row in common, so that whatever groups rows that agree groups cells into things.

        Args:
            attention: affinity (N, N), rows sum to 1; saliency and grid (h, w).
            image: the picture, whose padding is no foreground. None: all cells count, and `gap`, `outline` and
                `contrast` do nothing.

        Returns:
            the maps with `foreground` bool (h, w), the walk as affinity, and what was given as `extracted`.

        Raises:
            NothingFoundError: the picture has no edge that stands out.

        Source: our own; the walk is that of Coifman and Lafon, "Diffusion maps", 2006. What it was compared with:
        docs/stages/foreground.md.
        """
        from dataclasses import replace

        import numpy as np
        import torch

        from uce.core import NothingFoundError
        from uce.core.localisation import bonds, colours, edge_contrast, salient_cells, shown_cells, walked

        if image is not None and settings.contrast > 0 and (found := edge_contrast(image)) < settings.contrast:
            raise NothingFoundError(
                f"nothing stands out in this picture: its strongest edges are {found:.1f} times its usual differences "
                f"of colour, less than {settings.contrast:g}; lower foreground.contrast (0 finds something always), or "
                "choose --foreground none"
            )
        affinity = attention.raw.cpu().numpy().astype(np.float64)
        saliency = attention.saliency.cpu().numpy().astype(np.float64)
        shown = shown_cells(attention, image)
        seen = None if image is None else colours(image, attention.grid)
        salient = salient_cells(affinity, saliency, shown, settings.threshold)
        foreground = _things(salient, saliency, seen, int(shown.sum()), settings)
        weights = bonds(affinity, salient, seen, settings.reach, settings.gap)(np.flatnonzero(foreground))
        rows = _whole(walked(weights, settings.steps), foreground)
        return replace(
            attention,
            affinity=torch.from_numpy(rows).to(attention.affinity.dtype),
            foreground=torch.from_numpy(foreground),
            extracted=attention.raw,
        )


def _things(
    salient_hw: Masks, saliency_hw: Floats, colours_HW3: Floats | None, shown: int, settings: SalientForeground.Settings
) -> Masks:
    """The separate parts that may be things, bool (h, w), never empty."""
    import numpy as np

    from uce.core.localisation import bounded, bright, parts_of

    parts = parts_of(np.flatnonzero(salient_hw), salient_hw.shape)
    least = max(1, round(settings.smallest * shown))
    parts = [part for part in parts if len(part) >= least] or [max(parts, key=len)]
    if colours_HW3 is not None:
        parts = bounded(parts, colours_HW3, salient_hw, settings.outline)
    found = np.zeros(salient_hw.size, np.bool_)
    for part in bright(parts, saliency_hw, settings.faintest):
        found[part] = True
    return found.reshape(salient_hw.shape)


def _whole(rows_nn: Floats, foreground_hw: Masks) -> Floats:
    """Rows of the foreground's cells, and one row in common for all others, float64 (N, N)."""
    import numpy as np

    inside = foreground_hw.ravel()
    found = np.zeros((inside.size, inside.size))
    found[np.ix_(inside, inside)] = rows_nn
    found[np.ix_(~inside, ~inside)] = 1 / max(1, int((~inside).sum()))
    return found
