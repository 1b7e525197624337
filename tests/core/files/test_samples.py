"""Floats and wide whole numbers are never black."""

from __future__ import annotations

import numpy as np
import pytest
from picture_inputs import saved
from PIL import Image

from uce.core.errors import ImageError
from uce.core.files.pictures import rgb_of_bytes


@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 1), (1.001, 1), (3.7, 1), (255.0, 1), (1e6, 1)])
def test_floats_are_never_black(scale: float, tolerance: int) -> None:
    grey = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    found = rgb_of_bytes(saved(Image.fromarray(grey * np.float32(scale)), "TIFF"), "p")[:, :, 0].astype(int)
    assert np.abs(found - np.round(grey * 255)).max() <= tolerance


@pytest.mark.parametrize("top", [255, 300, 4095, 70_000, 2_000_000_000])
def test_whole_numbers_of_32_bits_are_never_black(top: int) -> None:
    grey = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    found = rgb_of_bytes(saved(Image.fromarray((grey * top).astype(np.int32)), "TIFF"), "p")[:, :, 0].astype(int)
    assert np.abs(found - grey * 255).max() <= 1.01 + 255 / top


def test_what_a_tiff_says_is_white_is_white(caplog: pytest.LogCaptureFixture) -> None:
    half = Image.fromarray(np.full((8, 8), 2048, dtype=np.int32))
    info = Image.Exif()
    info[281] = 4095
    assert rgb_of_bytes(saved(half, "TIFF", tiffinfo={281: 4095}), "p").max() in (127, 128)


def test_sixteen_bits_as_before_and_twelve_bits_in_them_not_black() -> None:
    grey = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    wide = (grey * 65535).round().astype(np.uint16)
    assert np.array_equal(rgb_of_bytes(saved(Image.fromarray(wide), "PNG"), "p")[:, :, 0], np.round(wide / 257))
    assert rgb_of_bytes(saved(Image.fromarray(wide // 16), "PNG"), "p").max() == 255


def test_numbers_below_zero_and_none_at_all(caplog: pytest.LogCaptureFixture) -> None:
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    found = rgb_of_bytes(saved(Image.fromarray(values), "TIFF"), "p")
    assert found.min() == 0 and found.max() == 255
    with pytest.raises(ImageError, match="holds no finite number; save it again with values from 0 to 1"):
        rgb_of_bytes(saved(Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)), "TIFF"), "p")
