"""True masks from a folder, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uce.core.errors import ConfigError, ImageError
from uce.truth.reading import read_truth

LABELS = np.array([[0, 1, 1, 0], [7, 7, 0, 0], [255, 0, 0, 0]], np.uint8)


def save(path: Path, values: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(path)


def test_a_label_png_gives_one_mask_per_label(tmp_path: Path) -> None:
    save(tmp_path / "desk.png", LABELS)
    truth = read_truth(tmp_path, "desk", (3, 4))
    assert truth.dtype == np.bool_ and truth.shape == (3, 3, 4)
    assert [np.argwhere(mask).tolist() for mask in truth] == [[[0, 1], [0, 2]], [[1, 0], [1, 1]], [[2, 0]]]


def test_a_palette_counts_by_its_indexes(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 3))
    palette.putdata(LABELS.flatten().tolist())
    palette.putpalette([9, 9, 9] * 256)
    palette.save(tmp_path / "desk.png")
    assert len(read_truth(tmp_path, "desk", (3, 4))) == 3


def test_a_folder_gives_one_mask_per_file_in_the_order_of_numbers(tmp_path: Path) -> None:
    for name, column in (("10", 2), ("2", 1), ("cup", 3)):
        mask = np.zeros((3, 4), np.uint8)
        mask[:, column] = 255
        save(tmp_path / "desk" / f"{name}.png", mask, "RGB" if name == "cup" else None)
    truth = read_truth(str(tmp_path), "desk", (3, 4))
    assert [int(np.argwhere(mask)[0][1]) for mask in truth] == [1, 2, 3]


def test_truth_that_is_missing_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such folder; give one that holds one 8-bit label PNG"):
        read_truth(tmp_path / "nowhere", "desk", (3, 4))
    save(tmp_path / "desk.png", LABELS)
    with pytest.raises(ConfigError, match=r"unknown picture 'dusk'; available: desk\. Did you mean 'desk'\?"):
        read_truth(tmp_path, "dusk", (3, 4))
    (tmp_path / "desk").mkdir()
    with pytest.raises(ConfigError, match="both tell the truth; keep one"):
        read_truth(tmp_path, "desk", (3, 4))


def test_an_empty_folder_of_masks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    with pytest.raises(ConfigError, match=r"desk holds no PNG; save one black and white mask per thing"):
        read_truth(tmp_path, "desk", (3, 4))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (LABELS[:2], "desk.png is 4 x 2 pixels, the picture is 4 x 3; save it at the picture's size"),
        (np.zeros((3, 4), np.uint8), "desk.png shows no thing, every pixel is 0"),
        (np.zeros((3, 4, 3), np.uint8), "desk.png has the mode RGB; save labels as 8-bit greyscale or palette"),
        (LABELS.astype(np.uint16), "desk.png has the mode I;16; save labels"),
    ],
)
def test_label_pngs_that_do_not_fit(tmp_path: Path, values: np.ndarray, text: str) -> None:
    save(tmp_path / "desk.png", values)
    with pytest.raises(ImageError, match=text):
        read_truth(tmp_path, "desk", (3, 4))


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "desk" / "0.png"
    save(path, np.full((3, 4), 127, np.uint8))
    with pytest.raises(ImageError, match=r"0.png \(L\) shows no thing, no pixel is above 127"):
        read_truth(tmp_path, "desk", (3, 4))
    path.write_text("no picture")
    with pytest.raises(ImageError, match=r"0.png is not a readable picture; give a PNG"):
        read_truth(tmp_path, "desk", (3, 4))
