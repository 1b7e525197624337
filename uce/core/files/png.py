"""A PNG's chunks: what the picture needs, without what was only written beside it."""

from __future__ import annotations

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PROFILE = b"iCCP"
_KEPT = (b"tRNS", b"eXIf", b"gAMA", b"sBIT")


def is_png(data: bytes) -> bool:
    return data.startswith(SIGNATURE)


def without_extras(data: bytes, but: bytes = b"") -> bytes:
    """A PNG without its texts and what else is not needed to show it; chunks called `but` stay.

    Chunks that no reader may leave out have names that begin with a capital.
    """
    kept, place = [SIGNATURE], len(SIGNATURE)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        name = data[place + 4 : place + 8]
        if name[:1].isupper() or name in (*_KEPT, but):
            kept.append(data[place:end])
        place = end
    return b"".join(kept)
