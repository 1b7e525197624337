"""Compose the example pictures of the project from held-out test objects, with their truth.

    python -m recipes.mini.examples --objects FOLDER --out examples

Truth is one 8-bit label picture per scene in `truth/` beside it: 0 nothing, 1, 2, ... the things in order.
What is in `limits/` is no example of what works: it shows a limit, and every page that has it says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from uce.scenes.composing import Scene, compose, labels
from uce.scenes.objects import load_object, split_of
from uce.scenes.textures import background
from uce.scenes.things import Thing, make_loader

# name: (background, seed, things)
EXAMPLES: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "beach": ("sand", 11, ("1f980", "1f334")),
    "desk": ("wood", 12, ("1f4a1", "1f3b2", "1f399-fe0f")),
    "meadow": ("grass", 14, ("1f411", "1f96d", "1f3b7", "1f36a")),
    "limits/headphones": ("wood", 12, ("1f3a7", "1fab4", "1f4a1")),
    "limits/lamb": ("grass", 13, ("1f411", "1f96d", "1f3b7", "1f36a")),
}


def index_with(seed: int, name: str) -> int:
    """The first scene index whose background is the one wanted."""
    return next(i for i in range(1000) if background(np.random.default_rng((seed, i, 0)), 8)[1] == name)


def example(objects: Path, name: str, side: int = 512) -> Scene:
    """Compose one example scene."""
    where, seed, stems = EXAMPLES[name]
    if any(split_of(stem) != "test" for stem in stems):
        raise ValueError(f"example {name!r} holds an object that is not in the test split")
    loader = make_loader(lambda stem: load_object(objects, stem, 256))
    return compose([Thing(stem) for stem in stems], loader, seed, index_with(seed, where), side)


def main() -> None:
    """Write all examples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name in EXAMPLES:
        scene = example(options.objects, name)
        path = options.out / f"{name}.png"
        (path.parent / "truth").mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.picture).save(path, optimize=True)
        labels(scene).save(path.parent / "truth" / path.name, optimize=True)


if __name__ == "__main__":
    main()
