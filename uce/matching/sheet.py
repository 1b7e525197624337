"""The picture to confirm by: every thing in a row, cut out of each picture that shows it; then what stayed alone."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from uce.core.runs.contact_sheet import Tile, contact_sheet, cut_out
from uce.core.runs.stored import StoredConcept

SIDE = 160


def confirm_sheet(
    things: Sequence[tuple[str, Sequence[tuple[str, StoredConcept]]]], alone: Sequence[tuple[str, StoredConcept]]
) -> Image.Image:
    """Cut-outs side by side.

    Args:
        things: (title, (folder as it was given, concept) of every picture).
        alone: concepts of which nothing is proposed.
    """
    rows = [(title, [_tile(*place) for place in places]) for title, places in things]
    title = "seen once, as far as can be told" if things else "nothing looks the same"
    widest = max([4, *(len(tiles) for _, tiles in rows)])
    for start in range(0, len(alone), widest):
        rows.append((title if start == 0 else "", [_tile(*place) for place in alone[start : start + widest]]))
    return contact_sheet(rows, SIDE)


def _tile(folder: str, concept: StoredConcept) -> Tile:
    return Tile(cut_out(concept), f"{folder}:{concept.index}", concept.label or concept.token)
