"""Many small pictures on one: rows and columns of equal tiles, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from uce.core.errors import RunFolderError
from uce.core.files.formats import open_picture

if TYPE_CHECKING:
    from uce.core.runs.stored import StoredConcept, StoredRun

SIDE, GAP, PAPER, INK, FAINT = 224, 16, (255, 255, 255), (32, 33, 36), (118, 122, 128)
TITLE_LINES = 3


@dataclass(frozen=True)
class Tile:
    """One picture (None: an empty place) with a caption below it and fainter words after that."""

    picture: Image.Image | None
    caption: str
    note: str = ""


def contact_sheet(rows: Sequence[tuple[str, Sequence[Tile]]], side: int = SIDE) -> Image.Image:
    """Rows of tiles, each row under a title of its own; an empty title takes no room.

    Args:
        rows: (title, tiles).
        side: pixels of a tile; pictures are fitted into it, small ones enlarged without smoothing away their pixels.
    """
    font, bold = ImageFont.load_default(15), ImageFont.load_default(18)
    columns = max((len(tiles) for _, tiles in rows), default=1)
    width = GAP + columns * (side + GAP)
    titles = [_wrapped(title, bold, width - 2 * GAP, TITLE_LINES) for title, _ in rows]
    below = [
        44 if any(tile.note for tile in tiles) else 26 if any(t.caption for t in tiles) else 4 for _, tiles in rows
    ]
    heights = [(26 * len(t) + 6 if t else 0) + side + extra + GAP for t, extra in zip(titles, below, strict=True)]
    sheet = Image.new("RGB", (width, GAP + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for (_, tiles), lines, height in zip(rows, titles, heights, strict=True):
        y = top
        for line in lines:
            draw.text((GAP, y), line, font=bold, fill=INK)
            y += 26
        y += 6 if lines else 0
        for column, tile in enumerate(tiles):
            _draw_tile(sheet, draw, tile, (GAP + column * (side + GAP), y), side, font)
        top += height
    return sheet


def _draw_tile(sheet: Image.Image, draw: Any, tile: Tile, place: tuple[int, int], side: int, font: Any) -> None:
    x, y = place
    if tile.picture is None:
        draw.rounded_rectangle((x, y, x + side, y + side), radius=8, outline=(218, 220, 224), width=1)
        text = "no picture"
        draw.text((x + (side - font.getlength(text)) / 2, y + side / 2 - 8), text, font=font, fill=FAINT)
    else:
        fitted = _fitted(tile.picture, side)
        sheet.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
    draw.text((x, y + side + 6), _cut(tile.caption, font, side), font=font, fill=INK)
    if tile.note:
        draw.text((x, y + side + 24), _cut(tile.note, font, side), font=font, fill=FAINT)


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)


def _cut(text: str, font: Any, width: int) -> str:
    """`text`, with its end left out where it is wider than `width`."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def _wrapped(text: str, font: Any, width: int, most: int) -> list[str]:
    """`text` in lines of at most `width`, at most `most` of them."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [_cut(line, font, width) for line in lines]


def cut_out(concept: StoredConcept, margin: float = 0.06) -> Image.Image:
    """A concept alone on white, with a little room around it.

    Raises:
        RunFolderError: the run has no picture, or its files are damaged.
    """
    with open_picture(concept.folder / "input.png") as file:
        original = np.asarray(file.convert("RGB"))
    mask = concept.mask
    if mask.shape != original.shape[:2]:
        raise RunFolderError(f"{concept.folder}: mask {concept.mask_path} and input.png are not of one size; run again")
    alone = np.where(mask[..., None], original, np.uint8(255))
    left, top, right, bottom = concept.bbox
    room = round(margin * max(right - left, bottom - top))
    height, width = mask.shape
    return Image.fromarray(alone).crop(
        (max(0, left - room), max(0, top - room), min(width, right + room), min(height, bottom + room))
    )


def run_tiles(run: StoredRun, owner: str) -> list[Tile]:
    """Of every concept its cut-out and, where one was drawn, its sample."""
    tiles = []
    for concept in run.concepts:
        note = concept.label or ""
        tiles.append(Tile(cut_out(concept) if run.has_picture else None, f"{owner}:{concept.token.strip('<>')}", note))
        sample = run.path / "samples" / f"{concept.token.strip('<>')}.png"
        if sample.is_file():
            with open_picture(sample) as file:
                tiles.append(Tile(file.convert("RGB"), "drawn", note and " "))
    return tiles
