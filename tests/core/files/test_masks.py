"""Folders of masks: their order, and what is read from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uce.core.errors import RunFolderError, StageInputError
from uce.core.files.masks import mask_box, mask_paths, read_mask, read_mask_of_size


def test_numbers_count_as_numbers(tmp_path: Path) -> None:
    names = ["10.png", "2.PNG", "mask10.png", "mask2.png", "cup.png", "0.png"]
    for name in [*names, ".hidden.png", "notes.txt"]:
        (tmp_path / name).touch()
    assert [path.name for path in mask_paths(tmp_path)] == [
        "0.png", "2.PNG", "10.png", "cup.png", "mask2.png", "mask10.png",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_above_127_is_inside_whatever_the_mode(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 127], [128, 255]], np.uint8)
    picture = Image.fromarray(values).convert(mode, dither=Image.Dither.NONE)
    picture.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), values > 127)


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "m.png")
    assert read_mask_of_size(tmp_path / "m.png", (2, 3)).shape == (2, 3)
    with pytest.raises(StageInputError, match=r"m\.png is 3 x 2 pixels, the picture is 5 x 4"):
        read_mask_of_size(tmp_path / "m.png", (4, 5))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"mask .*m\.png is not a readable picture; give a black and white PNG"):
        read_mask(tmp_path / "m.png")


def test_a_box_is_first_and_one_after_the_last() -> None:
    mask = np.zeros((6, 7), np.bool_)
    mask[2, 3] = mask[4, 1] = True
    assert mask_box(mask) == ((2, 5), (1, 4))
    assert mask_box(np.ones((1, 1), np.bool_)) == ((0, 1), (0, 1))
