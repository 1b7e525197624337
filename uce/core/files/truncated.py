"""JPEG files that lack their last bytes: read as browsers read them, where most of the picture is there."""

from __future__ import annotations

import io
import re

from PIL import Image

from uce.core.files.formats import open_picture, without_warnings

END = b"\xff\xd9"
SHARE = 0.9
"""So much of the rows must be there, or of a progressive file the scan that gives the last bit."""


def mended_jpeg(data: bytes) -> Image.Image | None:
    """The picture with what is missing filled in by the decoder; None where too much is, or the damage is another."""
    if not data.startswith(b"\xff\xd8") or data.endswith(END):
        return None
    try:
        if not (_last_bits(data) if _is_progressive(data) else _most_rows(data)):
            return None
        with without_warnings():
            picture = open_picture(io.BytesIO(data + END))
            picture.load()
            return picture
    except Exception:  # Pillow raises whatever its parsers meet in a damaged file: then it is that
        return None


def _is_progressive(data: bytes) -> bool:
    return bool(open_picture(io.BytesIO(data)).info.get("progressive"))


def _most_rows(data: bytes) -> bool:
    """Whether the decoder, given nothing in the place of what is missing, comes far enough."""
    picture = open_picture(io.BytesIO(data))
    try:
        with without_warnings():
            picture.load()
    except OSError:
        box = picture.im.getbbox()  # what it did not reach is zero
        return box is not None and box[3] >= SHARE * picture.height
    return True


def _last_bits(data: bytes) -> bool:
    """Whether the scan in which a progressive file ends is one of the last round, which only refines."""
    scans = list(re.finditer(rb"\xff\xda..([\x01-\x04])", data, re.DOTALL))
    if not scans:
        return False
    place = scans[-1].end() + 2 * scans[-1][1][0] + 2
    return len(scans) > 1 and data[place : place + 1] != b"" and data[place] & 0x0F == 0 and data[place] >> 4 != 0
