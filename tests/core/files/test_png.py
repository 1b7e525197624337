"""Long texts and profiles of a PNG are no damage."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from picture_inputs import colours, saved, swapped_profile
from PIL import PngImagePlugin

from uce.core.files.pictures import rgb_of_bytes


def long_text(kind: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    words = "parameters " * 300_000
    info.add_itxt("w", words, zip=True) if kind == "iTXt" else info.add_text("w", words, zip=kind == "zTXt")
    return saved(colours(), "PNG", pnginfo=info, icc_profile=swapped_profile())


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_long_texts_are_no_damage_and_the_profile_still_counts(kind: str) -> None:
    found = rgb_of_bytes(long_text(kind), "p")
    assert np.array_equal(found, rgb_of_bytes(saved(colours(), "PNG", icc_profile=swapped_profile()), "p"))


def test_a_profile_too_long_to_unpack_is_left_aside() -> None:
    body = b"x\0\0" + zlib.compress(b"\0" * (2 << 20))
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    plain = saved(colours(), "PNG")
    assert np.array_equal(rgb_of_bytes(plain[:33] + chunk + plain[33:], "p"), np.asarray(colours()))
