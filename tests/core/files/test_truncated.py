"""JPEG files without their last bytes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from picture_inputs import colours, saved
from PIL import Image

from uce.core.errors import ImageError
from uce.core.files.pictures import rgb_of_bytes


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2, 20, 60])
def test_a_jpeg_without_its_last_bytes_is_read(progressive: bool, lost: int, caplog: pytest.LogCaptureFixture) -> None:
    data = saved(colours(256), "JPEG", quality=95, progressive=progressive)
    logging.getLogger("uce").propagate = True
    with caplog.at_level(logging.WARNING, "uce"):
        found = rgb_of_bytes(data[:-lost], "p")
    assert np.abs(found.astype(int) - rgb_of_bytes(data, "p")).mean() < 8
    assert "picture 'p' lacks its last bytes; what is missing is filled in" in caplog.text


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_half_a_jpeg_is_damaged(progressive: bool, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    data = saved(noise, "JPEG", progressive=progressive)
    with pytest.raises(ImageError, match="is truncated or damaged"):
        rgb_of_bytes(data[: int(len(data) * share)], "p")
