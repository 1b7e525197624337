"""Compose training scenes ahead of time, in shards determined by (seed, number).

    python -m recipes.mini.shards --objects FOLDER --work FOLDER --count 150

A shard holds latents, instance labels of the latent cells and what the captions need, not pixels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recipes.mini.codec import Codec, load_codec
from uce.scenes.composing import Scene, compose
from uce.scenes.layouts import Layout
from uce.scenes.objects import is_face, list_objects, load_object, named_objects
from uce.scenes.textures import COLOURS, TEXTURES
from uce.scenes.things import TWINS, Loader, draw_things, make_loader

SIZE = 1024  # scenes in a shard
MOST = 4  # objects in a scene
EARLY = 16  # shards of the first stage, mostly large single objects
BACKGROUNDS = [*COLOURS, *TEXTURES]
NAMED_SHARE = 0.25  # of all mentions go to objects with a word of their own
# One thing alone is nearly always a portrait: captions do not say where it stands, and what is drawn should be large.
PORTRAITS, COUNTS = 0.6, (0.05, 0.42, 0.35, 0.18)
VARIED = 0.5  # of all mentions show a variant of their object
# Half of the scenes of several things are of the sorts that localisation finds hard.
LAYOUTS: tuple[Layout, ...] = ("apart", "beside", "touching", "overlapping")
LAYOUT_SHARES = (0.5, 0.1, 0.15, 0.25)
TWINS_IN_ROWS = 0.3  # how often the next thing is the one before again, in the place of `TWINS`


@dataclass(frozen=True)
class Shard:
    """Arrays over the scenes of one shard."""

    latents: npt.NDArray[np.float16]  # (S, 16, h, w)
    labels: npt.NDArray[np.uint8]  # (S, h, w): 0 background, else 1 + place in `stems`
    stems: npt.NDArray[np.int16]  # (S, MOST): number of the training object, -1 where there is none
    variants: npt.NDArray[np.int8]  # (S, MOST)
    backgrounds: npt.NDArray[np.int8]  # (S,)


def object_weights(stems: list[str], named: dict[str, str]) -> npt.NDArray[np.float64]:
    """How often each training object is drawn: named ones share a quarter, look-alike faces count little."""
    words = np.array([stem in named for stem in stems])
    rest = np.array([0.0 if stem in named else (0.3 if is_face(stem) else 1.0) for stem in stems])
    return np.asarray(NAMED_SHARE * words / max(1, words.sum()) + (1 - NAMED_SHARE) * rest / rest.sum())


def cell_labels(scene: Scene, grid: int) -> npt.NDArray[np.uint8]:
    """The label that covers most of each latent cell: uint8 (grid, grid)."""
    count, side, _ = scene.masks.shape
    cell = side // grid
    shares = scene.masks.reshape(count, grid, cell, grid, cell).mean((2, 4))
    shares = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
    return np.asarray(shares.argmax(0), np.uint8)


def _scene(loader: Loader, stems: list[str], weights: npt.NDArray[np.float64], seed: int, index: int) -> Scene:
    rng = np.random.default_rng((seed, index, 7))
    early = index < EARLY * SIZE
    portrait = rng.random() < (0.75 if early else PORTRAITS)
    count = 1 if portrait else int(rng.choice([1, 2, 3, 4], p=COUNTS))
    layout: Layout = LAYOUTS[int(rng.choice(len(LAYOUTS), p=LAYOUT_SHARES))]
    things = draw_things(rng, stems, weights, count, VARIED, TWINS if layout == "apart" else TWINS_IN_ROWS)
    return compose(things, loader, seed, index, portrait=portrait, layout=layout)


def make_shard(
    loader: Loader, stems: list[str], weights: npt.NDArray[np.float64], codec: Codec, seed: int, number: int
) -> Shard:
    """Compose and encode the scenes of one shard."""
    place = {stem: i for i, stem in enumerate(stems)}
    latents, labels = [], []
    objects = np.full((SIZE, MOST), -1, np.int16)
    variants, backgrounds = np.zeros((SIZE, MOST), np.int8), np.zeros(SIZE, np.int8)
    for row in range(SIZE):
        scene = _scene(loader, stems, weights, seed, number * SIZE + row)
        latents.append(codec.encode(scene.picture[None])[0].astype(np.float16))
        labels.append(cell_labels(scene, latents[-1].shape[-1]))
        for i, thing in enumerate(scene.things):
            objects[row, i], variants[row, i] = place[thing.stem], thing.variant
        backgrounds[row] = BACKGROUNDS.index(scene.background)
    return Shard(np.stack(latents), np.stack(labels), objects, variants, backgrounds)


def shard_path(work: Path, seed: int, number: int) -> Path:
    """Where a shard lies."""
    return work / "shards" / f"{seed}_{number:04d}.npz"


def load_shard(path: Path) -> Shard:
    """Read a shard."""
    with np.load(path) as stored:
        return Shard(**{name: stored[name] for name in Shard.__dataclass_fields__})


def main() -> None:
    """Make the shards that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard to make")
    parser.add_argument("--stride", type=int, default=1, help="make every n-th only, for n processes side by side")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stems = list_objects(options.objects, "train")
    weights = object_weights(stems, named_objects(options.objects))
    loader = make_loader(lambda stem: load_object(options.objects, stem), stems)
    codec = load_codec(options.work / "codec.npz")
    (options.work / "shards").mkdir(parents=True, exist_ok=True)
    for number in range(options.first, options.count, options.stride):
        path = shard_path(options.work, options.seed, number)
        if path.exists():
            continue
        shard = make_shard(loader, stems, weights, codec, options.seed, number)
        half = path.with_suffix(".part.npz")
        np.savez(half, **{name: getattr(shard, name) for name in Shard.__dataclass_fields__})
        half.replace(path)
        print(path.name, flush=True)


if __name__ == "__main__":
    main()
