"""What all pages share: the template engine with its styles, and pictures as part of the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from uce.core.errors import RunFolderError
from uce.core.files.formats import open_picture
from uce.core.files.writing import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_MARK = b'<meta name="generator" content="uce '


def environment(*folders: Path) -> Environment:
    """Templates of `folders`, then the shared ones; whatever they are given is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(picture: Image.Image, side: int, quality: int = 82, flat: bool = False) -> str:
    """A JPEG whose longer side is at most `side`; `flat`: full colour resolution, for maps with sharp edges."""
    small = Image.fromarray(np.asarray(picture))
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=quality, **({"subsampling": 0} if flat else {}))
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def file_uri(path: Path, side: int) -> str | None:
    """A picture file as a data URI; None where there is none."""
    picture = read_rgb(path)
    return None if picture is None else data_uri(picture, side)


def read_rgb(path: Path) -> Image.Image | None:
    """A picture file; None where there is none that can be read."""
    try:
        with open_picture(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def write_page(path: Path, text: str) -> None:
    """Write a page, in the place of an earlier one and of nothing else.

    Raises:
        RunFolderError: another file has that name, or it cannot be written.
    """
    try:
        if path.is_dir():
            raise RunFolderError(f"{path} is a folder; give a file name, such as {path / 'report.html'}")
        if path.is_file():
            with path.open("rb") as file:
                if _MARK not in file.read(2000):
                    raise RunFolderError(f"{path} is no page that uce wrote; give another name with -o")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror}); give another name with -o") from error
    write_bytes(path, text.encode("utf-8", "backslashreplace"))
