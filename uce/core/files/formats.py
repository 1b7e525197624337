"""Which picture files are read, wherever: one list, of formats that Pillow decodes by itself.

Formats for which Pillow starts another program (PostScript: Ghostscript) are not in it, whatever a file is called.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "ICO": (".ico",),
    "QOI": (".qoi",),
}
"""Pillow's name -> the endings of such files. A file is known by its content; endings are for looking into folders."""

SUFFIXES: tuple[str, ...] = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
GIVE = "give a PNG, JPEG, WebP, AVIF, TIFF, BMP or GIF file"

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_pillow = threading.RLock()


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Pillow's warnings are for programmers: kept from stderr, and no errors under `python -W error`.

    One thread at a time, since Python keeps one list of filters for all.
    """
    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_picture(file: str | Path | BinaryIO) -> Image.Image:
    """As `Image.open`, for the formats of the list alone.

    Raises:
        OSError and whatever else Pillow raises; `PIL.UnidentifiedImageError` for other formats.
    """
    with without_warnings():
        Image.init()  # once; MPO is opened as JPEG, and a Pillow may be built without a format
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def known_kind(head: bytes) -> str | None:
    """What a file is that people take for a picture and that is not read; None where nobody knows.

    Args:
        head: its first bytes.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return "HEIC, as phones store photos; save it as JPEG, or set the phone to its most compatible format"
    if head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        return "PostScript, which only a program can draw; save it as PNG"
    if head.startswith(b"%PDF"):
        return "a PDF; save the page as PNG"
    if head.lstrip()[:5].lower() in (b"<?xml", b"<svg ") or head.lstrip()[:4].lower() == b"<svg":
        return "a drawing in XML, such as SVG; save it as PNG"
    return None
