"""Photographs as backgrounds: parts without a thing of their own, of pictures that ship inside installed packages.

Read from the packages' files, so that nothing is downloaded. The astronaut and the cat of scikit-image are left out:
a person or an animal behind the things would be one more thing, of which the truth knows nothing. NOTICE names authors
and licences.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from uce.scenes.textures import Picture

# name: (package, file in it, square (left, top, side) in pixels)
PHOTOS: dict[str, tuple[str, str, tuple[int, int, int]]] = {
    "bricks": ("skimage", "data/brick.png", (0, 0, 512)),
    "gravel": ("skimage", "data/gravel.png", (0, 0, 512)),
    "lawn": ("skimage", "data/grass.png", (0, 0, 512)),
    "table": ("skimage", "data/coffee.png", (478, 276, 120)),
    "tower": ("skimage", "data/rocket.jpg", (420, 40, 220)),
    "stars": ("skimage", "data/hubble_deep_field.jpg", (64, 0, 872)),
    "lake": ("sklearn", "datasets/images/china.jpg", (360, 140, 280)),
    "leaves": ("sklearn", "datasets/images/flower.jpg", (450, 60, 190)),
}


def photo(name: str, side: int) -> Picture:
    """One background, float32 (side, side, 3) in [0, 1]."""
    package, file, (left, top, length) = PHOTOS[name]
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is a dependency"
    with Image.open(Path(spec.origin).parent / file) as picture:
        part = picture.convert("RGB").crop((left, top, left + length, top + length))
    scaled = part.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(scaled, np.float32) / np.float32(255)
