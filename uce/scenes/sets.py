"""Scenes with known truth for `uce benchmark`, labelled by what makes them hard.

    python -m uce.scenes.sets --objects FOLDER --split test --per-kind 2 --out OUT

Every scene is determined by (seed, split, kind, number) and the split's list of objects. Written are one picture per
scene, the truth as a label picture of the same name in `truth/` (0 nothing; 1, 2, ... the things in order of painting)
and `index.json`. Things are held out: `validation` for tuning, `test` for tables (`objects.split_of`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from uce.scenes.composing import Scene, draw_shadow, labels, pose_thing, render
from uce.scenes.layouts import Layout, place
from uce.scenes.objects import Split, is_face, list_objects, load_object
from uce.scenes.photos import PHOTOS, photo
from uce.scenes.textures import COLOURS, TEXTURES, Rng, graded, plain, two_toned
from uce.scenes.things import Loader, Thing, make_loader, thumbnail

SIDE = 256
SEED = 2024


@dataclass(frozen=True)
class Kind:
    """One sort of difficulty.

    Attributes:
        counts: how many things, in turn.
        size: longer side of a thing as a share of the picture's, least and most.
        layout: "apart", "beside" (a gap between), "touching" or "overlapping".
        choice: "different", "similar" (things that look alike) or "twice" (the first thing again).
            background: "simple", "texture" or "photo".
        times: scenes of this kind for one of the others.
    """

    counts: tuple[int, ...]
    size: tuple[float, float]
    layout: Layout = "apart"
    choice: str = "different"
    background: str = "simple"
    times: int = 1


KINDS: dict[str, Kind] = {
    "single": Kind((1,), (0.4, 0.7)),
    "pair": Kind((2,), (0.34, 0.5)),
    "three": Kind((3,), (0.29, 0.42)),
    "many": Kind((4, 5), (0.24, 0.34)),
    "small": Kind((2, 3), (0.14, 0.2)),
    "touching": Kind((2, 3), (0.26, 0.31), "touching"),
    "overlap": Kind((2, 3), (0.32, 0.4), "overlapping"),
    "similar": Kind((2,), (0.34, 0.44), "beside", "similar"),
    "twice": Kind((2, 3), (0.26, 0.31), "beside", "twice"),
    "textured": Kind((2, 3), (0.29, 0.42), background="texture"),
    "photo": Kind((2, 3), (0.29, 0.42), background="photo", times=2),
}
ALIKE = 12  # pairs of things that look most alike, of which kind "similar" draws


def compose_scene(
    kind: str,
    number: int,
    stems: Sequence[str],
    loader: Loader,
    split: Split = "test",
    seed: int = SEED,
    side: int = SIDE,
    alike: Sequence[tuple[str, str]] = (),
) -> Scene:
    """One scene; the same arguments always give the same one.

    Args:
        stems: the objects to choose from, at least as many as the kind shows.
        alike: pairs of objects that look alike, for kind "similar".

    Raises:
        ValueError: an unknown kind, or too few objects.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; available: {', '.join(KINDS)}")
    what = KINDS[kind]
    splits = ("train", "validation", "test")
    rng = np.random.default_rng((seed, splits.index(split), list(KINDS).index(kind), number))
    count = what.counts[number % len(what.counts)]
    things = [Thing(stem) for stem in _choose(rng, what, count, stems, alike)]
    turn = number + 4 * (split == "test")  # so that the splits show different photographs and textures
    canvas, name = _background(rng, what.background, side, turn)
    poses = [pose_thing(rng, loader(thing), side, float(rng.uniform(*what.size)), 20, 0.5) for thing in things]
    corners = place(rng, poses, side, what.layout)
    return render(canvas, name, things, poses, corners, draw_shadow(rng))[0]


def _choose(rng: Rng, kind: Kind, count: int, stems: Sequence[str], alike: Sequence[tuple[str, str]]) -> list[str]:
    chosen = [str(stem) for stem in rng.choice(np.asarray(stems), count, replace=False)]
    if kind.choice == "twice":
        chosen[1] = chosen[0]
    if kind.choice == "similar":
        if not alike:
            raise ValueError("kind 'similar' needs to know which objects look alike")
        chosen = list(alike[int(rng.integers(len(alike)))])
    return chosen


def _background(rng: Rng, kind: str, side: int, number: int) -> tuple[npt.NDArray[np.float32], str]:
    if kind == "photo":
        name = list(PHOTOS)[number % len(PHOTOS)]
        return photo(name, side), name
    if kind == "texture":
        name = list(TEXTURES)[number % len(TEXTURES)]
        return TEXTURES[name](rng, side), name
    name = str(rng.choice(list(COLOURS)))
    return (plain, graded, two_toned)[int(rng.integers(3))](rng, side, name), name


def look_alike(stems: Sequence[str], loader: Loader, count: int = ALIKE) -> list[tuple[str, str]]:
    """The `count` pairs of objects whose thumbnails are nearest, nearest first; no object twice."""
    rows = np.stack([thumbnail(loader(Thing(stem))) for stem in stems])
    distances = np.square(rows[:, None] - rows[None]).sum(axis=-1)
    first, second = np.triu_indices(len(stems), 1)
    pairs: list[tuple[str, str]] = []
    for order in np.argsort(distances[first, second], kind="stable"):
        pair = stems[first[order]], stems[second[order]]
        if len(pairs) < count and not {stem for earlier in pairs for stem in earlier} & set(pair):
            pairs.append(pair)
    return pairs


def write_scenes(
    objects: Path, out: Path, split: Split = "test", per_kind: int = 2, seed: int = SEED, side: int = SIDE
) -> list[str]:
    """Write `per_kind` scenes of every kind (photographs: twice as many); give their names."""
    stems = [stem for stem in list_objects(objects, split) if not is_face(stem)]
    loader = make_loader(lambda stem: load_object(objects, stem, 256))
    alike = look_alike(stems, loader)
    (out / "truth").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for kind, what in KINDS.items():
        for number in range(per_kind * what.times):
            scene = compose_scene(kind, number, stems, loader, split, seed, side, alike)
            name = f"{kind}-{number}"
            Image.fromarray(scene.picture).save(out / f"{name}.png", optimize=True)
            labels(scene).save(out / "truth" / f"{name}.png", optimize=True)
            count = len(scene.things)
            rows.append(
                {
                    "name": name,
                    "labels": [kind, f"{count} thing{'s' if count > 1 else ''}"],
                    "things": [thing.stem for thing in scene.things],
                    "background": scene.background,
                }
            )
    document = {"split": split, "seed": seed, "side": side, "scenes": rows}
    (out / "index.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return [row["name"] for row in rows]


def main() -> None:
    """Write scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--per-kind", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    write_scenes(options.objects, options.out, options.split, options.per_kind, options.seed)


if __name__ == "__main__":
    main()
