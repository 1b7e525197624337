"""Bytes on disk and how they are read: pictures, masks, tensors, documents, token files, data sets, URLs.

Every file is written whole or not at all (`writing.py`, begin there). Nothing here knows of stages, plugins or runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "parse_json": "documents",
    "open_picture": "formats",
    "mask_paths": "masks",
    "read_mask": "masks",
    "read_mask_of_size": "masks",
    "user_path": "paths",
    "load_rgb": "pictures",
    "exists": "writing",
    "write_picture": "writing",
    "write_safetensors": "writing",
    "write_text": "writing",
}

__all__ = [
    "exists",
    "load_rgb",
    "mask_paths",
    "open_picture",
    "parse_json",
    "read_mask",
    "read_mask_of_size",
    "user_path",
    "write_picture",
    "write_safetensors",
    "write_text",
]

if TYPE_CHECKING:
    from uce.core.files.documents import parse_json
    from uce.core.files.formats import open_picture
    from uce.core.files.masks import mask_paths, read_mask, read_mask_of_size
    from uce.core.files.paths import user_path
    from uce.core.files.pictures import load_rgb
    from uce.core.files.writing import exists, write_picture, write_safetensors, write_text

__getattr__, __dir__ = face(__name__, _HOMES)
