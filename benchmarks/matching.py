"""How often `uce match` proposes the right pairs, and how to choose its threshold.

    python benchmarks/matching.py --objects FOLDER [--pairs 50] [--seed 601] [--tune] [--pictures DIR] [--json FILE]

FOLDER holds the objects' pictures (see `uce.scenes.objects`). A pair is two composed scenes of two or three validation
objects that share one or two of them: in the second scene they are turned (by up to 45 degrees, and mirrored half the
time), of another size, at another place and on another background, beside other objects. Each scene is localised by
`mini` with the default preset; a concept is an object where their masks overlap by an IoU of 0.5.

- precision: of the proposed pairs, those that are one shared object in both pictures.
- recall: of all shared objects, those proposed; one that localisation missed counts as missed. "of found" leaves those
  out: what matching alone reaches.

`--tune` tries thresholds on the scenes of `--seed`; the shipped one was chosen on seed 501, and is measured on 601.
Localised scenes are kept in `--keep DIR`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import uce
from uce.core.config.options import Options
from uce.core.files.writing import write_picture
from uce.core.work.models import backbone_for
from uce.matching.features import Features, concept_features, likeness
from uce.matching.match import THRESHOLD
from uce.matching.pairing import assign
from uce.scenes.composing import Scene, compose
from uce.scenes.objects import is_face, list_objects, load_object
from uce.scenes.things import Thing, make_loader

Masks = npt.NDArray[np.bool_]
SIDE, TURN = 256, 45
THRESHOLDS = np.arange(0.3, 0.96, 0.025)


@dataclass(frozen=True)
class Seen:
    """A localised scene: features of its concepts, and the object that each is (None: none)."""

    features: Features
    names: list[str | None]


def turned(base: Callable[[Thing], Image.Image], rng: np.random.Generator) -> Callable[[Thing], Image.Image]:
    """The loader's things, each turned by an angle of its own."""
    angles: dict[Thing, float] = {}

    def load(thing: Thing) -> Image.Image:
        angle = angles.setdefault(thing, float(rng.uniform(-TURN, TURN)))
        return base(thing).rotate(angle, Image.Resampling.BICUBIC, expand=True)

    return load


def scene_pair(objects: Path, stems: list[str], seed: int, index: int) -> tuple[list[Scene], list[str]]:
    """Two scenes, and the objects that both show."""
    rng = np.random.default_rng((seed, index))
    num_shared = 1 + index % 2
    counts = [max(2, int(rng.integers(num_shared, 4))) for _ in range(2)]
    chosen = [str(stem) for stem in rng.choice(stems, sum(counts) - num_shared, replace=False)]
    first, second = chosen[: counts[0]], chosen[:num_shared] + chosen[counts[0] :]
    second = [second[i] for i in rng.permutation(len(second))]
    loader = make_loader(lambda stem: load_object(objects, stem, 256))
    scenes = [
        compose([Thing(stem) for stem in first], loader, seed, 2 * index, SIDE),
        compose([Thing(stem) for stem in second], turned(loader, rng), seed, 2 * index + 1, SIDE),
    ]
    return scenes, chosen[:num_shared]


def localised(scene: Scene, keep: Path | None) -> Masks:
    """Masks that the default preset finds, bool (K, H, W)."""
    if keep is not None and keep.is_file():
        return np.load(keep)["masks"]
    try:
        masks = np.asarray(uce.localize(Image.fromarray(scene.picture), model="mini").pixel_masks)
    except uce.UceError:  # nothing salient: everything is missed
        masks = np.zeros((0, SIDE, SIDE), np.bool_)
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(keep, masks=masks)
    return masks


def named(scene: Scene, masks: Masks) -> list[str | None]:
    """The object that each concept is."""
    true, found = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (scene.masks, masks))
    both = true @ found.T
    overlap = both / np.maximum(1, true.sum(1)[:, None] + found.sum(1)[None] - both)
    best = overlap.argmax(0) if len(masks) else []
    return [scene.things[j].stem if overlap[j, k] >= 0.5 else None for k, j in enumerate(best)]


def score(seen: list[tuple[Seen, Seen, list[str]]], threshold: float) -> dict[str, float]:
    """Precision and recall of the pairs that score at least `threshold`."""
    right = proposed = shared_things = found = 0
    for first, second, shared in seen:
        pairs = assign(likeness(first.features, second.features), threshold)
        shared_things += len(shared)
        found += sum(stem in first.names and stem in second.names for stem in shared)
        proposed += len(pairs)
        right += sum(first.names[a] in shared and first.names[a] == second.names[b] for a, b in pairs)
    return {
        "threshold": float(threshold), "precision": right / max(1, proposed), "recall": right / max(1, shared_things),
        "recall_of_found": right / max(1, found), "proposed": proposed, "right": right, "shared": shared_things,
        "found": found,
    }  # fmt: skip


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=601)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--truth", action="store_true", help="use the true masks: matching alone")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--pictures", type=Path, help="write the scenes there")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = Options(model="mini", device="cpu")
    backbone = backbone_for(manager := chosen.manager(), chosen.resolve(manager))
    stems = [stem for stem in list_objects(options.objects, "validation") if not is_face(stem)]
    seen: list[tuple[Seen, Seen, list[str]]] = []
    for index in range(options.pairs):
        scenes, shared = scene_pair(options.objects, stems, options.seed, index)
        both = []
        for place, scene in enumerate(scenes):
            name = f"{options.seed}-{index}-{'ab'[place]}"
            masks = scene.masks if options.truth else localised(scene, options.keep and options.keep / f"{name}.npz")
            both.append(Seen(concept_features(backbone, scene.picture, list(masks)), named(scene, masks)))
            if options.pictures:
                write_picture(options.pictures / f"{name}.png", scene.picture)
        seen.append((both[0], both[1], shared))
        if index % 10 == 9:
            shown(score(seen, THRESHOLD), f"{index + 1} pairs")
    rows = [score(seen, t) for t in THRESHOLDS] if options.tune else [score(seen, THRESHOLD)]
    for row in rows:
        shown(row, "all")
    if options.json:
        document: dict[str, Any] = {"seed": options.seed, "pairs": options.pairs, "truth": options.truth, "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def shown(row: dict[str, float], head: str) -> None:
    print(head, *(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()),
          sep="  ", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
