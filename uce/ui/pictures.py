"""What the page shows of a picture: things outlined, one thing cut out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from uce.core.files.formats import open_picture
from uce.core.files.masks import mask_box
from uce.core.runs.overlay import draw_overlay
from uce.ui.things import Thing
from uce.ui.workspace import PictureWork

SHOWN_SIDE = 640


def overlay(picture: PictureWork, selected: str | None) -> Image.Image:
    """The picture with every ticked thing outlined and named; the selected one has a white rim, too."""
    wanted = [thing for thing in picture.things if thing.wanted or thing.name == selected]
    masks = np.stack([t.mask for t in wanted]) if wanted else np.zeros((0, *picture.pixels.shape[:2]), bool)
    if not wanted:
        factor = _factor(picture)
        return Image.fromarray(picture.pixels).resize((masks.shape[2] * factor, masks.shape[1] * factor))
    drawn = draw_overlay(picture.pixels, masks, [t.name for t in wanted], SHOWN_SIDE)
    rim = next((thing for thing in wanted if thing.name == selected), None)
    return drawn if rim is None else _rimmed(drawn, rim)


def _factor(picture: PictureWork) -> int:
    """By how much `draw_overlay` enlarges a picture."""
    return max(1, -(-SHOWN_SIDE // int(max(picture.pixels.shape[:2]))))


def pixel_at(picture: PictureWork, x: float, y: float) -> tuple[int, int]:
    """Where a click on the overlay is in the picture."""
    factor = _factor(picture)
    return int(x // factor), int(y // factor)


def _rimmed(drawn: Image.Image, thing: Thing) -> Image.Image:
    from scipy.ndimage import binary_dilation

    inside = np.asarray(Image.fromarray(thing.mask).resize(drawn.size, Image.Resampling.NEAREST))
    thickness = max(2, round(max(drawn.size) / 240))
    canvas = np.asarray(drawn).copy()
    canvas[binary_dilation(inside, iterations=thickness) & ~inside] = 255
    return Image.fromarray(canvas)


def cut_out(picture: PictureWork, thing: Thing, side: int = 96) -> Image.Image:
    """The thing alone on white, in a square."""
    (top, bottom), (left, right) = mask_box(thing.mask)
    box = (slice(top, bottom), slice(left, right))
    pixels = np.where(thing.mask[box][..., None], picture.pixels[box], 255).astype(np.uint8)
    found = Image.fromarray(pixels)
    found.thumbnail((side - 8, side - 8))
    square = Image.new("RGB", (side, side), "white")
    square.paste(found, ((side - found.width) // 2, (side - found.height) // 2))
    return square


def words(things_of: list[PictureWork]) -> list[tuple[Image.Image, str]]:
    """Every learned word as a cut-out with its name."""
    return [
        (cut_out(picture, thing), thing.name)
        for picture in things_of
        if picture.run is not None
        for thing in picture.learned_things
    ]


def samples_of(picture: PictureWork) -> list[tuple[Image.Image, str]]:
    """The pictures that a finished run drew of its words."""
    run = picture.run
    if run is None:
        return []
    found = []
    for path in sorted((run.path / "samples").glob("*.png"), key=lambda p: (p.stem.startswith("all"), p.name)):
        with open_picture(path) as sample:
            caption = "all together" if path.stem.startswith("all") else path.stem
            found.append((sample.convert("RGB"), caption))
    return found
