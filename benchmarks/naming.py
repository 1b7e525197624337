"""How often the names that `mini` shows are right, on masks that uce finds, for each threshold.

    python benchmarks/naming.py --objects FOLDER --scenes 40

Composed scenes of one to four things: half of them (`mixed`) training objects with a word, the others validation
objects; and scenes of validation objects alone, nearly all of which have no word. A concept is the thing that it
overlaps with an IoU of at least .5; a concept that is no thing has no right name. Thresholds are chosen on these;
test objects are never shown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import uce
from recipes.mini.naming import true_word
from uce.core.config.options import Options
from uce.core.flow.picture import read_picture
from uce.core.work.models import backbone_for
from uce.core.work.naming import name_things
from uce.scenes.composing import compose
from uce.scenes.objects import is_face, list_objects, load_object, named_objects
from uce.scenes.things import Thing, make_loader

SIDE, SEED = 256, 4242
LIMITS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def rows_of(objects: Path, count: int, mixed: bool, backbone: Any) -> list[tuple[str | None, str, float]]:
    """Of every thing and every concept that is none: true word, best word, its confidence."""
    named = list(named_objects(objects))
    others = [stem for stem in list_objects(objects, "validation") if not is_face(stem)]
    loader, rows = make_loader(lambda stem: load_object(objects, stem, SIDE)), []
    for index in range(count):
        rng = np.random.default_rng((SEED, mixed, index))
        number = int(rng.integers(1, 5))
        stems = [str(rng.choice(named if mixed and rng.random() < 0.5 else others)) for _ in range(number)]
        scene = compose([Thing(stem) for stem in stems], loader, SEED + mixed, index, SIDE)
        truth = [true_word(stem) for stem in stems]
        try:
            found = uce.localize(scene.picture, model="mini", device="cpu").pixel_masks
        except uce.UceError:
            rows += [(word, "", 0.0) for word in truth]
            continue
        assert found is not None
        names = name_things(backbone, read_picture(scene.picture, backbone.picture_side, "pad").original, found)
        assert names is not None
        inside = torch.from_numpy(scene.masks).flatten(1).float() @ found.flatten(1).float().T
        areas = torch.from_numpy(scene.masks).flatten(1).sum(1)[:, None] + found.flatten(1).sum(1)[None] - inside
        best = (inside / areas).max(dim=0)
        owners = [int(thing) if iou >= 0.5 else None for iou, thing in zip(*best, strict=True)]
        rows += [
            (None if o is None else truth[o], n.words[0], n.confidences[0]) for o, n in zip(owners, names, strict=True)
        ]
        rows += [(word, "", 0.0) for thing, word in enumerate(truth) if thing not in owners]
    return rows


def table(rows: list[tuple[str | None, str, float]]) -> list[dict[str, Any]]:
    """Per threshold: labels shown, how many of them are right, and of things with a word how many get it."""
    have = sum(word is not None for word, *_ in rows)
    made = []
    for limit in LIMITS:
        shown = [(word, best) for word, best, sure in rows if sure >= limit]
        right = sum(word == best for word, best in shown)
        made.append({"limit": limit, "shown": len(shown), "right": right, "have a word": have})
    return made


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--scenes", type=int, default=40, help="of each sort")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chosen = Options.of({"model": "mini", "device": "cpu"})
    backbone = backbone_for(chosen.manager(), chosen.resolve(chosen.manager()))
    results = {}
    for name, mixed in (("mixed", True), ("validation objects alone", False)):
        results[name] = table(rows_of(options.objects, options.scenes, mixed, backbone))
        print(f"{name}: {options.scenes} scenes, {results[name][0]['have a word']} things that have a word")
        for row in results[name]:
            right, shown, have = row["right"], row["shown"], row["have a word"]
            print(f"  from {row['limit']}: {right} of {shown} right ({right / max(1, shown):.0%}), "
                  f"{right / max(1, have):.0%} of things with a word named")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
