"""Files of drawn pictures: names from prompts, and nothing is ever replaced."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from uce.tokens.drawn import write_grid, write_pictures

PICTURES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]


def test_names_come_from_prompts_and_earlier_pictures_stay(tmp_path: Path) -> None:
    pairs = [("A photo of <cup>!", 3), ("...", 4)]
    first = write_pictures(tmp_path, pairs, PICTURES, {"steps": "2"})
    again = write_pictures(tmp_path, pairs, PICTURES[::-1], {"steps": "2"})
    assert [path.name for path in first] == ["a-photo-of-cup-s3.png", "picture-s4.png"]
    assert [path.name for path in again] == ["a-photo-of-cup-s3-2.png", "picture-s4-2.png"]
    with Image.open(first[0]) as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)
        assert picture.text == {"prompt": "A photo of <cup>!", "seed": "3", "steps": "2"}  # type: ignore[attr-defined]


def test_the_sheet_says_all_prompts(tmp_path: Path) -> None:
    path = write_grid(tmp_path, ["a", "b"], [("a", 0), ("b", 0)], PICTURES, {})
    with Image.open(path) as picture:
        assert path.name == "grid.png" and picture.text["prompt"] == "a\nb"  # type: ignore[attr-defined]
