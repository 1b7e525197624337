"""Three photographs with hand-drawn masks: what `uce doctor --compare` tries a model on.

The photographs lie in scikit-image's own package (NOTICE says whose they are); the outlines were drawn for this
project, by hand and to a few pixels. A later outline lies over an earlier one, so that masks are disjoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[int, int]
_ELLIPSE = "ellipse"

_OUTLINES: dict[str, dict[str, list[Any]]] = {
    "coffee": {
        "saucer": [(_ELLIPSE, (76, 42, 480, 387))],
        "cup": [
            (_ELLIPSE, (173, 17, 409, 207)),
            [(175, 130), (185, 200), (205, 235), (200, 300), (235, 305), (250, 285), (310, 288), (330, 260), (370, 220),
             (400, 170)],
        ],
        "spoon": [
            (_ELLIPSE, (326, 248, 406, 326)),
            [(402, 68), (424, 75), (408, 140), (384, 220), (392, 250), (372, 262), (376, 220), (398, 140)],
        ],
    },
    "astronaut": {
        "flag": [[(0, 0), (45, 0), (65, 90), (100, 200), (90, 230), (45, 290), (30, 400), (0, 430)]],
        "person": [
            [(160, 60), (190, 25), (240, 15), (285, 35), (300, 80), (295, 130), (270, 160), (300, 200), (305, 245),
             (345, 270), (360, 350), (300, 390), (280, 450), (285, 511), (20, 511), (30, 400), (40, 300), (75, 250),
             (120, 215), (115, 190), (150, 150), (185, 140), (155, 100)],
        ],
        "helmet": [[(282, 511), (285, 430), (320, 370), (380, 345), (430, 350), (475, 385), (495, 430), (511, 460),
                    (511, 511)]],
        "shuttle": [[(355, 230), (385, 190), (378, 110), (388, 40), (395, 20), (405, 0), (430, 5), (445, 40), (455, 60),
                     (455, 210), (450, 245), (430, 285), (370, 285), (360, 245)]],
    },
    "chelsea": {
        "cat": [[(0, 60), (35, 20), (90, 0), (350, 0), (385, 10), (360, 60), (350, 120), (350, 170), (330, 230),
                 (290, 290), (280, 299), (0, 299)]],
    },
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture to try a model on.

    Attributes:
        name: for tables.
        path: its file.
        masks: true things, bool (T, H, W); None where nobody drew them.
    """

    name: str
    path: Path
    masks: np.ndarray[Any, np.dtype[np.bool_]] | None


def shipped() -> list[Photograph]:
    """The photographs with masks."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [Photograph(name, folder / f"{name}.png", _masks(folder / f"{name}.png", name)) for name in _OUTLINES]


def _masks(path: Path, name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    from uce.core.files.formats import open_picture

    with open_picture(path) as picture:
        labels = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(labels)
    for number, outlines in enumerate(_OUTLINES[name].values(), start=1):
        for outline in outlines:
            if outline[0] == _ELLIPSE:
                draw.ellipse(outline[1], fill=number)
            else:
                draw.polygon(outline, fill=number)
    found = np.asarray(labels)
    return np.stack([found == number for number in range(1, len(_OUTLINES[name]) + 1)])
