"""Small pictures as files, for the tests of reading them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, ImageCms


def colours(side: int = 64) -> Image.Image:
    """Smooth and colourful, so that lossy formats keep it."""
    down, across = np.mgrid[0:side, 0:side] * (255 / (side - 1))
    return Image.fromarray(np.stack([down, across, 255 - down], axis=-1).round().astype(np.uint8))


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def swapped_profile() -> bytes:
    """sRGB's own profile with red and green exchanged."""
    data = bytearray(profile("sRGB"))
    entries = {
        bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(struct.unpack(">I", data[128:132])[0])
    }
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF bytes as no well-behaved writer makes them: (tag, type, count, 4 bytes)."""
    rows = b"".join(struct.pack(">HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(entries)) + rows + b"\0\0\0\0"
