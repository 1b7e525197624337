"""Colour profiles: whatever a picture's numbers mean, they are brought to sRGB."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
from PIL import Image, ImageCms

log = logging.getLogger(__name__)
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_CLOSE = 2
"""Of 255: a profile that moves no colour further is sRGB, and such a picture's bytes are left as they are."""


def to_srgb(picture: Image.Image, name: str) -> Image.Image:
    """The picture in sRGB: as it is where it has no profile, or sRGB's own; alpha stays.

    A profile that cannot be used is left aside with a line in the log; `name` is what that calls the picture.
    """
    profile = picture.info.get("icc_profile")
    if picture.mode == "LAB":  # has its meaning in itself
        return _converted(picture, ImageCms.createProfile("LAB"), "LAB")
    if not profile or picture.mode.startswith(("I", "F", "1")):
        return picture
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[found.profile.xcolor_space.strip()]
        if (mode == "CMYK") != (picture.mode == "CMYK") or (mode == "L" and picture.mode not in ("L", "LA", "1")):
            raise ValueError(f"it is for {mode}, the picture is {picture.mode}")
        return picture if _is_srgb(found, mode) else _keep_alpha(picture, found, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = " ".join(str(error).split())[:120]
        log.warning("the colour profile of %s is left aside: it cannot be used (%s)", name, cause)
        return picture


def _converted(picture: Image.Image, profile: Any, mode: str) -> Image.Image:
    """The picture, in `mode`, as RGB."""
    plain = picture if picture.mode == mode else picture.convert(mode)
    found = ImageCms.profileToProfile(plain, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert found is not None
    return found


def _keep_alpha(picture: Image.Image, profile: Any, mode: str) -> Image.Image:
    if picture.mode not in _ALPHA and "transparency" not in picture.info:
        return _converted(picture, profile, mode)
    rgba = picture.convert("RGBA")
    found = _converted(rgba.convert("RGB").convert(mode), profile, mode)
    found.putalpha(rgba.getchannel("A"))
    return found


def _is_srgb(profile: Any, mode: str) -> bool:
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    axes = np.meshgrid(levels, levels, levels) if mode == "RGB" else [np.arange(256, dtype=np.uint8)[None, :, None]]
    probe = np.stack([axis.reshape(-1) for axis in axes], axis=-1)[None]
    given = Image.fromarray(probe if mode == "RGB" else probe[:, :, 0])
    moved = np.asarray(_converted(given, profile, mode)).astype(int) - probe
    return int(np.abs(moved).max()) <= _CLOSE
