"""Colour profiles: pictures become sRGB, and those that are stay as they are."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from picture_inputs import colours, profile, saved, swapped_profile
from PIL import ImageCms

from uce.core.files.pictures import rgb_of_bytes


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colours_are_converted_to_srgb(format: str) -> None:
    plain = rgb_of_bytes(saved(colours(), format), "p").astype(int)
    found = rgb_of_bytes(saved(colours(), format, icc_profile=swapped_profile()), "p").astype(int)
    assert np.abs(found - plain[:, :, [1, 0, 2]]).mean() < 3


def test_srgbs_own_profile_changes_no_byte() -> None:
    assert np.array_equal(
        rgb_of_bytes(saved(colours(), "PNG", icc_profile=profile("sRGB")), "p"), np.asarray(colours())
    )


def test_alpha_survives_the_conversion() -> None:
    clear = colours().convert("RGBA")
    clear.putalpha(0)
    assert (rgb_of_bytes(saved(clear, "PNG", icc_profile=swapped_profile()), "p") == 255).all()


@pytest.mark.parametrize("broken", [b"nonsense", b"\0" * 200, swapped_profile()[:150]])
def test_a_broken_profile_is_left_aside_with_a_word(broken: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "uce"):
        logging.getLogger("uce").propagate = True
        found = rgb_of_bytes(saved(colours(), "PNG", icc_profile=broken), "p")
    assert np.array_equal(found, np.asarray(colours()))
    assert "the colour profile of picture 'p' is left aside" in caplog.text


def test_lab_is_shown() -> None:
    lab = ImageCms.profileToProfile(
        colours(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert np.abs(rgb_of_bytes(saved(lab, "TIFF"), "p").astype(int) - np.asarray(colours())).mean() < 4
