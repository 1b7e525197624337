"""Files that appear whole: written aside in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import RunFolderError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor


def exists(path: Path) -> bool:
    """Whether anything is there; False for what no path can be, such as names of 300 letters."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either the old bytes or all of the new ones.

    Raises:
        RunFolderError: the folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        aside = Path(name)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)  # mkstemp makes files that only the owner reads
        aside.replace(path)
    except OSError as error:
        _discard(aside)
        raise _unwritable(path, error) from error
    except BaseException:
        _discard(aside)
        raise


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _unwritable(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"cannot write {path}: {error.strerror or error}; choose another folder with -o, or free space"
    )


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, document: Any) -> None:
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_traceback(folder: Path | None) -> Path:
    """Write the exception that is being handled to error.txt in `folder` (None: in a new temporary one)."""
    path = (folder or Path(tempfile.mkdtemp(prefix="uce-"))) / "error.txt"
    write_text(path, traceback.format_exc())
    return path


def write_picture(
    path: Path, picture: Image.Image | np.ndarray[Any, Any], text: Mapping[str, str] | None = None
) -> None:
    """Write a PNG; a boolean array becomes 0 or 255. `text`: keyword -> words for the file's text chunks."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if not isinstance(picture, Image.Image):
        array = picture.astype("uint8") * 255 if picture.dtype == bool else picture
        picture = Image.fromarray(array)
    info = PngInfo() if text else None
    for keyword, words in (text or {}).items():
        assert info is not None
        info.add_itxt(keyword, words)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=6, pnginfo=info)
    write_bytes(path, buffer.getvalue())


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name; those that share memory are written each for itself (safetensors refuses them)."""
    from safetensors.torch import save

    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if storage in taken else value
        taken.add(storage)
    write_bytes(path, save(plain, metadata=metadata))
