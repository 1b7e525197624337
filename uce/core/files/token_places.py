"""Where embeddings lie: files, folders of the hub, pictures that carry one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uce.core.errors import TokenFileError
from uce.core.files.documents import parse_json

ENDINGS = (".safetensors", ".bin", ".pt", ".png", ".webp")
LEARNED = ("learned_embeds", "learned_embeds_2")
PNG_KEY = "sd-ti-embedding"
"""The text chunk in which AUTOMATIC1111 keeps an embedding: JSON in base64."""
_MAX_PNG = 16 << 20


def token_files(paths: Sequence[Path]) -> list[Path]:
    """The files that `paths` stand for: of a folder its embeddings, or those of the folders in it, as on the hub.

    Raises:
        TokenFileError: a folder without any.
    """
    return [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]


def _in_folder(folder: Path) -> list[Path]:
    for found in (_learned(folder), [f for one in sorted(folder.iterdir()) if one.is_dir() for f in _learned(one)]):
        if found:
            return found
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS[:3] and path.is_file())
    found = [path for path in found if "lora" not in path.stem.lower()]
    if not found:
        raise TokenFileError(
            f"{folder} holds no embedding; give a file, or a folder as the hub has it, with learned_embeds.safetensors"
        )
    return found


def _learned(folder: Path) -> list[Path]:
    """learned_embeds, and the second half of diffusers' SDXL script; safetensors before a pickle of the same."""
    found = []
    for stem in LEARNED:
        files = [folder / f"{stem}{ending}" for ending in ENDINGS[:3]]
        found += [path for path in files if path.is_file()][:1]
    return found


def read_png(path: Path) -> Mapping[str, Any]:
    """AUTOMATIC1111's embedding in a picture, as the `.pt` of the same would hold it. Its data is read, nothing is run.

    Raises:
        TokenFileError: the picture holds none, or a damaged one.
    """
    import torch

    from uce.core.files.formats import open_picture

    try:
        if path.stat().st_size > _MAX_PNG:
            raise TokenFileError(f"{path} is a picture of more than {_MAX_PNG >> 20} MiB; embeddings' are smaller")
        with open_picture(path) as picture:
            picture.load()
            text = getattr(picture, "text", {}).get(PNG_KEY)
    except TokenFileError:
        raise
    except Exception as error:  # Pillow raises whatever its parsers meet in a damaged file
        raise TokenFileError(f"{path} is not a readable picture; get it again") from error
    if text is None:
        raise TokenFileError(
            f"{path} is a picture that carries no embedding (no text {PNG_KEY}); give the embedding itself"
        )
    try:
        document = parse_json(base64.b64decode(text, validate=True))
        values = document["string_to_param"]
        tensors = {str(key): torch.tensor(value["TORCHTENSOR"], dtype=torch.float32) for key, value in values.items()}
    except (binascii.Error, ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError) as error:
        raise TokenFileError(f"{path} carries a damaged embedding; get it again") from error
    return {"string_to_param": tensors, "name": document.get("name")}
