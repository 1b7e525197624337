"""Any picture file, PIL picture or array as upright 8-bit sRGB.

Which files are read is in `formats.py`, what their numbers mean in `colours.py` and `samples.py`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from uce.core.errors import ImageError, not_damaged
from uce.core.files.colours import to_srgb
from uce.core.files.formats import FORMATS, GIVE, known_kind, open_picture, without_warnings
from uce.core.files.png import PROFILE, is_png, without_extras
from uce.core.files.samples import to_8_bit
from uce.core.files.truncated import mended_jpeg

PictureSource = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]
RgbArray = np.ndarray[Any, np.dtype[np.uint8]]

MAX_BYTES = 1 << 30
"""A larger file is no picture that anybody means."""

MAX_PIXELS = 100_000_000
"""Larger pictures are made smaller while they are read, by whole numbers."""

MAX_READ_PIXELS = 170_000_000
"""Larger ones are refused before they are decoded (a small file can unpack to gigabytes)."""

STDIN = "standard input"
_BAND = 512  # rows
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAMPLE_MAXIMA = (341, 281)  # TIFF's SMaxSampleValue and MaxSampleValue
log = logging.getLogger(__name__)


def load_rgb(source: PictureSource) -> RgbArray:
    """Read a picture as people see it: upright (EXIF), in sRGB, alpha on white, the first frame where it moves.

    Args:
        source: a path; a PIL picture; or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or
            floats in [0, 1].

    Returns:
        uint8 (H, W, 3) sRGB; of more than `MAX_PIXELS`, a half or a third of the size.

    Raises:
        ImageError: missing, unreadable, empty, truncated, too large, or no picture at all.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_object(source)
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            f"a picture must be a path, a PIL picture or a numpy array, found {type(source).__name__}; {GIVE}"
        )
    return _from_file(Path(source))


def _from_file(path: Path) -> RgbArray:
    name = f"picture '{path}'"
    try:
        if not path.exists():
            raise ImageError(f"{name} does not exist; check the path or {GIVE}")
        if path.is_dir():
            raise ImageError(f"{name} is a folder, not a picture; name one file in it")
        if path.stat().st_size == 0:
            raise ImageError(f"{name} is empty (0 bytes); save or download it again")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{name} has more than {MAX_BYTES >> 30} GiB; make it smaller first")
        return _decode(path.read_bytes(), name)
    except PermissionError as error:
        raise ImageError(f"{name} may not be read (permission denied); change its permissions or copy it") from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds what no name may hold
        raise ImageError(f"{name[:200]} cannot be read ({error}); check the path or {GIVE}") from error


def rgb_of_bytes(data: bytes, name: str) -> RgbArray:
    """As `load_rgb`, of a file's content; `name` is what messages call it.

    Raises:
        ImageError: as `load_rgb`.
    """
    if not data:
        raise ImageError(f"picture '{name}' is empty (0 bytes); save or download it again")
    return _decode(data, f"picture '{name}'")


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


def _decode(data: bytes, name: str) -> RgbArray:
    with _sentences(name, data[:64]):
        try:
            return _opened(data, name)
        except ImageError:
            raise
        except ValueError:
            if not is_png(data):
                raise
            return _plain_png(data, name)
        except OSError:
            mended = mended_jpeg(data)
            if mended is None:
                raise
            log.warning("%s lacks its last bytes; what is missing is filled in", name)
            return _upright_rgb(mended, name)


def _plain_png(data: bytes, name: str) -> RgbArray:
    """A PNG whose text, or whose colour profile, is longer than Pillow unpacks."""
    try:
        return _opened(without_extras(data, but=PROFILE), name)
    except ValueError:
        found = _opened(without_extras(data), name)
        log.warning("the colour profile of %s is left aside: it cannot be used", name)
        return found


def _opened(data: bytes, name: str) -> RgbArray:
    with open_picture(io.BytesIO(data)) as picture, without_warnings():
        check_size(picture.size, name)
        factor = _reduction(picture.size)
        if factor > 1:  # JPEG decodes to a half or less at once; others are made smaller below
            log.warning("%s has %d x %d pixels; it is read at 1/%d of its size", name, *picture.size, factor)
            picture.draft(None, (picture.width // factor, picture.height // factor))
        picture.load()
        return _upright_rgb(picture, name)


def _from_object(picture: Image.Image) -> RgbArray:
    name = f"the picture{f' {file!r}' if (file := getattr(picture, 'filename', None)) else ''}"
    check_size(picture.size, name)
    if picture.format is not None and picture.format not in FORMATS:
        raise ImageError(f"{name} is of the format {picture.format}, which is not read; {GIVE}, or picture.convert()")
    with _sentences(name), without_warnings():
        picture.load()
        return _upright_rgb(picture, name)


@contextlib.contextmanager
def _sentences(name: str, head: bytes = b"") -> Iterator[None]:
    """What Pillow raises, as one sentence. `head`: the file's first bytes."""
    try:
        yield
    except UnidentifiedImageError as error:
        kind = known_kind(head)
        found = f"is {kind}" if kind else f"is not a picture in a format that can be read; {GIVE}"
        raise ImageError(f"{name} {found}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name, "more than twice as many")) from error
    except (ImageError, PermissionError):
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
        raise ImageError(f"{name} has no pixels ({width} x {height}); {GIVE}")
    if width * height > MAX_READ_PIXELS:
        raise ImageError(_too_large(name, f"{width} x {height} = {width * height / 1e6:.0f} million"))


def _too_large(name: str, found: str) -> str:
    return f"{name} has {found} pixels; at most {MAX_READ_PIXELS // 1_000_000} million are read; make it smaller first"


def _reduction(size: tuple[int, int]) -> int:
    """The whole number by which a picture's sides are divided."""
    factor = 1
    while size[0] * size[1] > MAX_PIXELS * factor * factor:
        factor += 1
    return factor


def _upright_rgb(picture: Image.Image, name: str) -> RgbArray:
    turned = _UPRIGHT.get(_orientation(picture, name))
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(to_8_bit(np.asarray(picture), name, _sample_maximum(picture)))
    if (factor := _reduction(picture.size)) > 1:
        picture = (picture if picture.mode in ("L", "RGB") else picture.convert("RGBA")).reduce(factor)
    picture = to_srgb(picture, name)
    if turned is not None:
        picture = picture.transpose(turned)
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return _as_array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _as_array(picture: Image.Image) -> RgbArray:
    """uint8 (H, W, 3), of large pictures without a second copy on the way."""
    found: RgbArray = np.empty((picture.height, picture.width, 3), dtype=np.uint8)
    for top in range(0, picture.height, _BAND):
        bottom = min(top + _BAND, picture.height)
        found[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return found


def _orientation(picture: Image.Image, name: str) -> int:
    """EXIF's orientation, and nothing else of it; 1 where it cannot be read."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
        return int(found) if isinstance(found, int) else 1
    except Exception as error:  # whatever odd EXIF makes of its reader
        log.warning("the EXIF data of %s is left aside: it cannot be read (%s)", name, type(error).__name__)
        return 1


def _sample_maximum(picture: Image.Image) -> float | None:
    """The number for white, where the file says so."""
    if picture.format == "PPM":  # scaled to that by Pillow
        return 65535.0
    tags: Any = getattr(picture, "tag_v2", {})
    for tag in _SAMPLE_MAXIMA:
        with contextlib.suppress(Exception):  # whatever stands there
            found = float(np.max(tags[tag]))
            if np.isfinite(found) and found > 0:
                return found
    return None


def _from_array(array: np.ndarray[Any, Any]) -> RgbArray:
    name = f"the array of shape {tuple(array.shape)} and type {array.dtype}"
    wanted = "give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or floats in [0, 1]"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"{name} is not a picture; {wanted}")
    check_size((array.shape[1], array.shape[0]), name)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = to_8_bit(array, name)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"{name} holds floats outside [0, 1]; {wanted}")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"{name} is not a picture; {wanted}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return _upright_rgb(Image.fromarray(np.ascontiguousarray(array)), name)
