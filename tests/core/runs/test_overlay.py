"""The overlay: every concept outlined and labelled, within the picture, the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from uce.core.runs.overlay import concept_colors, draw_overlay

Box = tuple[float, float, float, float]


def picture(height: int, width: int) -> np.ndarray[Any, Any]:
    return np.full((height, width, 3), 100, np.uint8)


def squares(count: int, side: int = 64) -> np.ndarray[Any, Any]:
    """`count` disjoint masks in a raster on a square of `side` pixels."""
    masks = np.zeros((count, side, side), bool)
    per_row = int(np.ceil(np.sqrt(count)))
    cell = side // per_row
    for index in range(count):
        row, column = divmod(index, per_row)
        masks[index, row * cell : (row + 1) * cell - 1, column * cell : (column + 1) * cell - 1] = True
    return masks


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[Box]:
    """The labels' boxes, in the order in which they are drawn."""
    drawn: list[Box] = []
    original = ImageDraw.ImageDraw.rounded_rectangle

    def note(self: Any, box: Box, *arguments: Any, **more: Any) -> None:
        drawn.append(box)
        original(self, box, *arguments, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "rounded_rectangle", note)
    return drawn


def overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 64), (640, 640)), ((100, 300), (900, 300)), ((700, 500), (500, 700))]
)
def test_small_pictures_grow_by_a_whole_factor(size: tuple[int, int], expected: tuple[int, int]) -> None:
    overlay = draw_overlay(picture(*size), np.zeros((1, *size), bool), ["<asset0>"])
    assert overlay.size == expected and overlay.mode == "RGB"


def test_outlines_and_dimmed_surroundings() -> None:
    masks = np.zeros((1, 64, 64), bool)
    masks[0, 16:48, 16:48] = True
    overlay = np.asarray(draw_overlay(picture(64, 64), masks, ["<a>"]))
    (color,) = concept_colors(1)
    assert tuple(overlay[160, 320]) == color and tuple(overlay[479, 320]) == color, "the outline, inside the mask"
    assert overlay[10, 10].tolist() == [55, 55, 55], "dimmed where no concept is"
    assert overlay[200, 200].tolist() == [round(88 + 0.12 * c) for c in color], "tinted inside"


def test_it_is_the_same_every_time() -> None:
    first, second = (draw_overlay(picture(64, 64), squares(3), ["<a>", "<b>", "<c>"]) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_nothing_given_is_changed() -> None:
    original, masks = picture(64, 64), squares(2)
    draw_overlay(original, masks, ["<a>", "<b>"])
    assert (original == 100).all() and (masks == squares(2)).all()


@pytest.mark.parametrize(
    ("size", "name"), [((64, 64), "<asset0>"), ((640, 120), "<asset0> red cup"), ((48, 640), "<a>")]
)
def test_labels_lie_inside_the_picture(size: tuple[int, int], name: str, boxes: list[Box]) -> None:
    for corner in ((slice(0, 4), slice(0, 4)), (slice(-4, None), slice(-4, None))):
        masks = np.zeros((1, *size), bool)
        masks[0][corner] = True
        overlay = draw_overlay(picture(*size), masks, [name])
        left, top, right, bottom = boxes[-1]
        assert left >= 0 and top >= 0 and right <= overlay.width and bottom <= overlay.height


def test_labels_of_neighbours_do_not_cover_each_other(boxes: list[Box]) -> None:
    masks = np.zeros((4, 64, 64), bool)
    masks[range(4), range(30, 34), 32] = True
    draw_overlay(picture(64, 64), masks, [f"<asset{k}>" for k in range(4)])
    assert len(boxes) == 4
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_many_concepts() -> None:
    overlay = draw_overlay(picture(64, 64), squares(60), [str(k) for k in range(60)], min_side=128)
    assert overlay.size == (128, 128)
    assert len(set(concept_colors(60))) == 60


@pytest.mark.parametrize("count", [0, 2])
def test_empty_masks_are_no_trouble(count: int) -> None:
    overlay = draw_overlay(picture(40, 64), np.zeros((count, 40, 64), bool), ["<a>", "<b>"][:count])
    assert overlay.size == (640, 400)


def test_a_mask_that_covers_everything_and_a_picture_of_one_pixel() -> None:
    assert draw_overlay(picture(1, 1), np.ones((1, 1, 1), bool), ["<a>"]).size == (640, 640)
