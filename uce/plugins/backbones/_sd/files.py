"""Reading safetensors files: what they hold, whether they are what their name says, and each tensor once."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uce.core import ModelError
from uce.plugins.backbones._sd.parts import guarded

SUFFIXES = (".safetensors", ".sft")
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_HEADER_LIMIT = 100_000_000  # bytes; the format's own


@dataclass(frozen=True)
class Header:
    """What a file says about itself, without its tensors.

    Attributes:
        shapes: by the tensors' names.
        metadata: the file's own words.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def read_header(path: Path, model: str) -> Header:
    """Names and shapes of a file's tensors, and its metadata.

    Raises:
        ModelError: not a safetensors file (an HTML page, a git-lfs pointer, a pickle, GGUF: it says which), or cut off.
    """
    who = f"model '{model}'"
    require_safetensors(path, who)
    guarded(lambda: require_complete(path, who), model, "file")

    def read() -> Header:
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return Header(path, shapes, dict(file.metadata() or {}))

    header: Header = guarded(read, model, "file")
    return header


def require_safetensors(path: Path, who: str) -> None:
    """Say what a file is that is no safetensors file; `who` begins the sentence.

    Raises:
        ModelError: it is something else.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(512)
    text = start.lstrip().lower()
    if size == 0:
        raise ModelError(f"{who} is an empty file; the download never began, fetch it again")
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"{who} is a git-lfs pointer of {size} bytes, which stands for a file that was not fetched; run git lfs "
            "pull in its folder"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(
            f"{who} is a web page (HTML) and no model: the link was that of a page, or it asks for a login; download "
            "the file itself"
        )
    if start.startswith(b"GGUF"):
        raise ModelError(
            f"{who} is a GGUF file, whose weights are quantised, which cannot be used; give the .safetensors version"
        )
    if start.startswith(b"PK") or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise ModelError(
            f"{who} is a pickle file under another name, which can run any code while it is read; give the real "
            ".safetensors version of it"
        )
    if size < 1024 and text.isascii() and b"{" not in text[:16]:
        raise ModelError(
            f"{who} is a text of {size} bytes ({text[:40].decode()!r}) and no model; download the file itself"
        )
    _require_whole(start, size, who)


def _require_whole(start: bytes, size: int, who: str) -> None:
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else _HEADER_LIMIT
    if length >= _HEADER_LIMIT or start[8:9] != b"{":
        raise ModelError(f"{who} cannot be loaded: it is no safetensors file, whatever its name says; give one")
    if 8 + length > size:
        raise ModelError(
            f"{who} cannot be loaded: the file is cut off after {size} bytes, within its header; download it again"
        )


def require_complete(path: Path, who: str) -> None:
    """ModelError where a file ends before the tensors that its header announces."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        entries = json.loads(stream.read(length))
    ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    expected, size = 8 + length + max(ends, default=0), path.stat().st_size
    if size < expected:
        raise ModelError(
            f"{who} cannot be loaded: the file is cut off after {size} of {expected} bytes; download it again"
        )
