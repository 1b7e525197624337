"""Files that appear whole: written aside in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
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


LARGE = 1 << 22
"""Pixels of a picture in colour above which a PNG's size counts less than the time it takes."""


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
        descriptor, aside = open_aside(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        _discard(aside)
        raise _unwritable(path, error) from error
    except BaseException:
        _discard(aside)
        raise


def open_aside(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, open for writing: (descriptor, its name). Who may read it is as the umask says."""
    while True:
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with contextlib.suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            return os.open(aside, flags, 0o666), aside


def no_links(root: Path, pattern: str) -> list[Path]:
    """What matches below `root`, in order, but for what lies behind a link: that is not ours to remove."""
    found = []
    for path in sorted(root.glob(pattern)):
        parts = path.relative_to(root).parts
        folders = [root.joinpath(*parts[:count]) for count in range(1, len(parts))]
        if not any(folder.is_symlink() for folder in folders) and not (path.is_symlink() and path.is_dir()):
            found.append(path)
    return found


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _unwritable(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"cannot write {path}: {error.strerror or error}; choose another folder with -o, or free space"
    )


def write_text(path: Path, text: str) -> None:
    r"""UTF-8; bytes of file names that are none become \udcXX, as JSON and YAML write them."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


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
    level = 1 if picture.mode != "L" and picture.width * picture.height > LARGE else 6
    picture.save(buffer, format="PNG", compress_level=level, pnginfo=info)
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
    data: bytes = save(plain, metadata=metadata)
    write_bytes(path, data if len(metadata or {}) < 2 else _in_order(data))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with the entries of its metadata in order: the library's own is another each time."""
    end = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:end])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]
