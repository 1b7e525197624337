"""Draw the picture in README.md from a finished run: the input, what was found, what the tokens draw.

uce run examples/beach.png -o out && python docs/make_images.py out docs/images/beach.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import uce

SIDE, GAP, CAPTION = 300, 16, 30


def panel(path: Path) -> Image.Image:
    """A picture as a square of SIDE pixels."""
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def contact_sheet(run: uce.Run) -> Image.Image:
    """Input and overlay above, one drawn picture per token below, each with its caption."""
    top = [("the picture", run.path / "input.png"), ("what uce found in it", run.path / "overlay.png")]
    stems = [concept.token.strip("<>") for concept in run.concepts]
    below = [(f"a photo of <{stem}>", run.path / "samples" / f"{stem}.png") for stem in stems]
    columns = max(len(top), len(below))
    sheet = Image.new("RGB", (columns * (SIDE + GAP) + GAP, 2 * (SIDE + CAPTION + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for row, entries in enumerate((top, below)):
        y = GAP + row * (SIDE + CAPTION + GAP)
        for column, (caption, path) in enumerate(entries):
            x = GAP + column * (SIDE + GAP)
            sheet.paste(panel(path), (x, y))
            draw.text((x, y + SIDE + 5), caption, fill="black", font=font)
    return sheet


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(uce.load(sys.argv[1])).save(target, optimize=True)
