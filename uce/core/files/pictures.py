"""Any picture file, PIL picture or array as upright 8-bit RGB."""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from uce.core.errors import ImageError, not_damaged

PictureSource = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]
RgbArray = np.ndarray[Any, np.dtype[np.uint8]]

MAX_BYTES = 1 << 30
"""A larger file is no picture that anybody means."""

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded (a small file can unpack to gigabytes)."""

STDIN = "standard input"
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_GIVE = "give a PNG, JPEG, WebP, TIFF, BMP or GIF file"


def load_rgb(source: PictureSource) -> RgbArray:
    """Read a picture as people see it: upright (EXIF), alpha on white, the first frame where it moves.

    Args:
        source: a path; a PIL picture; or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or
            floats in [0, 1].

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ImageError: missing, unreadable, empty, truncated, too large, or no picture at all.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        check_size(source.size, "the picture")
        return _upright_rgb(source)
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            f"a picture must be a path, a PIL picture or a numpy array, found {type(source).__name__}; {_GIVE}"
        )
    return _from_file(Path(source))


def _from_file(path: Path) -> RgbArray:
    name = f"picture '{path}'"
    try:
        if not path.exists():
            raise ImageError(f"{name} does not exist; check the path or {_GIVE}")
        if path.is_dir():
            raise ImageError(f"{name} is a folder, not a picture; name one file in it")
        if path.stat().st_size == 0:
            raise ImageError(f"{name} is empty (0 bytes); save or download it again")
        return _decode(path, name)
    except PermissionError as error:
        raise ImageError(f"{name} may not be read (permission denied); change its permissions or copy it") from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds what no name may hold
        raise ImageError(f"{name[:200]} cannot be read ({error}); check the path or {_GIVE}") from error


def rgb_of_bytes(data: bytes, name: str) -> RgbArray:
    """As `load_rgb`, of a file's content; `name` is what messages call it.

    Raises:
        ImageError: as `load_rgb`.
    """
    if not data:
        raise ImageError(f"picture '{name}' is empty (0 bytes); save or download it again")
    return _decode(io.BytesIO(data), f"picture '{name}'")


def read_stdin() -> Image.Image:
    """The picture on standard input, for `uce run -`.

    Raises:
        ImageError: nothing is piped in, too much is, or as `load_rgb`.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError("- reads a picture from standard input, and nothing is piped in; add < picture.jpg")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(f"picture '{STDIN}' has more than {MAX_BYTES >> 30} GiB; make it smaller first")
    picture = Image.fromarray(rgb_of_bytes(data, STDIN))
    picture.filename = STDIN  # type: ignore[attr-defined]  # as pictures from files have it: the run's input name
    return picture


def _decode(path: Path | io.BytesIO, name: str) -> RgbArray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is stricter to users
            with Image.open(path) as picture:
                check_size(picture.size, name)
                picture.load()
                return _upright_rgb(picture)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a format that can be read; {_GIVE}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name, "more than twice as many")) from error
    except (PermissionError, ImageError):
        raise
    except Exception as error:  # Pillow raises whatever its parsers meet in a damaged file
        not_damaged(error, name)
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise ImageError(f"{name} is truncated or damaged ({cause}); save or download it again") from error


def check_size(size: tuple[int, int], name: str) -> None:
    """Refuse what has no pixels or too many.

    Raises:
        ImageError: so it is.
    """
    width, height = size
    if width == 0 or height == 0:
        raise ImageError(f"{name} has no pixels ({width} x {height}); {_GIVE}")
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(name, f"{width} x {height} = {width * height / 1e6:.0f} million"))


def _too_large(name: str, found: str) -> str:
    return f"{name} has {found} pixels; at most {MAX_PIXELS // 1_000_000} million are read; make it smaller first"


def _upright_rgb(picture: Image.Image) -> RgbArray:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):
        upright = Image.fromarray(_to_8_bit(np.asarray(upright)))
    if upright.mode in _ALPHA_MODES or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, rgba)
    return np.array(upright.convert("RGB"), dtype=np.uint8)


def _to_8_bit(values: np.ndarray[Any, Any]) -> RgbArray:
    """One wide channel as 8 bits: 16-bit whole numbers by their range, floats in [0, 1] as they are, anything wider
    by its own largest value."""
    if values.dtype == np.uint16:
        return np.round(values / 257.0).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0).clip(min=0)
    top = float(finite.max())
    whole = np.issubdtype(values.dtype, np.integer)
    if whole:
        scale = 255.0 if top <= 255 else 65535.0 if top <= 65535 else top
    else:
        scale = 1.0 if top <= 1 else 255.0 if top <= 255 else top
    scaled: RgbArray = np.round(finite * (255.0 / scale)).astype(np.uint8)
    return scaled


def _from_array(array: np.ndarray[Any, Any]) -> RgbArray:
    name = f"the array of shape {tuple(array.shape)} and type {array.dtype}"
    wanted = "give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or floats in [0, 1]"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"{name} is not a picture; {wanted}")
    check_size((array.shape[1], array.shape[0]), name)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _to_8_bit(array)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"{name} holds floats outside [0, 1]; {wanted}")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"{name} is not a picture; {wanted}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return _upright_rgb(Image.fromarray(np.ascontiguousarray(array)))
