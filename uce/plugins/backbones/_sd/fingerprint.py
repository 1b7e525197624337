"""A quick hash that changes when a model's weights or configuration do."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WHOLE = 64 << 20  # files up to this size are hashed whole
_SAMPLE = 512  # bytes read at the start, middle and end of every tensor of a larger file


def fingerprint_files(files: Sequence[Path], configs: Sequence[Mapping[str, Any]]) -> str:
    """Hash of configurations, and of weights: whole where small, a sample of every tensor where large.

    Reading four gigabytes takes longer than localising with them; training changes every tensor, and a sample of
    each shows that.

    Args:
        files: safetensors files.
        configs: plain JSON values.
    """
    hasher = hashlib.sha256()
    for config in configs:
        known = {key: value for key, value in config.items() if not key.startswith("_")}
        hasher.update(json.dumps(known, sort_keys=True, default=str).encode())
    for file in files:
        size = file.stat().st_size
        hasher.update(struct.pack("<Q", size))
        with file.open("rb") as stream:
            if size <= _WHOLE:
                hasher.update(stream.read())
                continue
            (length,) = struct.unpack("<Q", stream.read(8))
            header = stream.read(length)
            hasher.update(header)
            for start, stop in _tensor_ranges(header):
                for offset in (start, (start + stop) // 2, stop - _SAMPLE):
                    stream.seek(8 + length + max(start, offset))
                    hasher.update(stream.read(min(_SAMPLE, stop - start)))
    return hasher.hexdigest()


def _tensor_ranges(header: bytes) -> list[tuple[int, int]]:
    entries = json.loads(header)
    return sorted(tuple(entry["data_offsets"]) for name, entry in entries.items() if name != "__metadata__")
