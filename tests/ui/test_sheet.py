"""What is painted in the browser comes back as a mask, and nothing else does."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uce.core.errors import ImageError
from uce.ui.picture_work import PictureWork
from uce.ui.sheet import MAX_PAINTING, brush_value, read_painting, sheet_value
from uce.ui.things import Thing

BEGIN = "data:image/png;base64,"


def painting(width: int, height: int, kind: str = "png") -> dict[str, str]:
    """The upper left quarter is painted."""
    layer = np.zeros((height, width, 4), np.uint8)
    layer[: height // 2, : width // 2] = 200
    data = io.BytesIO()
    Image.fromarray(layer).save(data, kind)
    return {"painted": BEGIN + base64.b64encode(data.getvalue()).decode()}


def test_an_outline_goes_to_the_brush_and_comes_back(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), bool)
    mask[5:20, 5:40] = True
    value = brush_value(PictureWork("a", tmp_path, np.zeros((40, 60, 3), np.uint8)), Thing(0, "cup", mask))
    assert (value["width"], value["height"]) == (60, 40) and value["picture"].startswith("data:image/webp;base64,")
    assert (read_painting(value, (40, 60)) == mask).all()


def test_a_new_thing_begins_without_paint(tmp_path: Path) -> None:
    value = brush_value(PictureWork("a", tmp_path, np.zeros((40, 60, 3), np.uint8)), None)
    assert value["painting"] == {"mask": None} and not read_painting(value, (40, 60)).any()
    assert not read_painting(None, (40, 60)).any()


def test_the_brush_shows_the_other_things_and_the_sheet_all(tmp_path: Path) -> None:
    cup, cat = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    cup[5:20, 5:20], cat[10:30, 30:50] = True, True
    things = (Thing(0, "cup", cup), Thing(1, "cat", cat, wanted=False, title="Katze"))
    picture = PictureWork("a", tmp_path, np.zeros((40, 60, 3), np.uint8), things=things)
    shown = sheet_value(picture, "cat")["things"]
    assert [(one["title"], one["number"], one["chosen"], one["wanted"]) for one in shown] == [
        ("cup", 1, False, True),
        ("Katze", 2, True, False),
    ]
    assert all(one["path"].startswith("M") for one in shown) and sheet_value(picture, None)["painting"] is None
    assert [one["name"] for one in brush_value(picture, things[0])["things"]] == ["cat"]


def test_a_painting_of_another_size_is_fitted() -> None:
    mask = read_painting(painting(120, 80), (40, 60))
    assert mask.shape == (40, 60) and mask[:19, :29].all() and not mask[21:, 31:].any()


@pytest.mark.parametrize(
    "value",
    [
        {"painted": 3},
        {"painted": "/etc/passwd"},
        {"painted": "https://example.com/a.png"},
        {"painted": BEGIN + "????"},
        {"painted": BEGIN + base64.b64encode(b"no picture").decode()},
        {"painted": BEGIN + "A" * MAX_PAINTING},
        painting(64, 64, "tiff"),
        painting(4000, 8),
    ],
    ids=["number", "path", "address", "letters", "bytes", "long", "tiff", "large"],
)
def test_what_is_no_painting_is_refused(value: Any) -> None:
    with pytest.raises(ImageError, match="paint it again"):
        read_painting(value, (40, 60))
