"""Two things in one picture: how often are both recognised, drawn plainly and each in a region of its own?

    python benchmarks/regions.py --objects FOLDER --part named --limit 50 --out named.json
    python benchmarks/regions.py --objects FOLDER --part learned --limit 10 --out learned.json

FOLDER and the judge are those of `mini_quality.py`. Every pair is drawn from the prompt "a photo of a <one> next to a
<other>" and one seed in each of `--ways`: plain; regions (found in the first steps); layout (the left and the right
half). A thing is recognised where the judge names it, among all, in one of 22 square windows of the picture.

- named: pairs of named training objects, of 146. Pairs of seed 1 were for tuning, those of seed 2 (the default) are
  measured. `chance` asks the pictures of one pair for another pair's things; `real` is composed scenes of the pairs.
- learned: scenes of validation objects; the first two things that were found, among all validation objects.

The file is written after every pair; what it holds already is not drawn again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import uce
from benchmarks.mini_quality import overlap, quiet_judge, save_grid, validation_scene, validation_stems
from recipes.mini.judge import Judge
from uce.core import Regions
from uce.core.config.options import Options
from uce.core.work.models import backbone_for
from uce.scenes.composing import compose
from uce.scenes.objects import load_object, named_objects
from uce.scenes.things import Thing, make_loader

Picture = npt.NDArray[np.uint8]
HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
WINDOWS = ((0.5, 3), (0.625, 3), (0.75, 2))
"""Sides as shares of the picture's, and how many places there are along each axis."""


@dataclass(frozen=True)
class Pair:
    """Two things to draw: their words in the prompt, what the judge calls them, and who draws them how."""

    number: int
    words: tuple[str, str]
    stems: tuple[str, str]
    source: Any

    @property
    def prompt(self) -> str:
        return "a photo of a {} next to a {}".format(*self.words)


def windows(picture: Picture) -> list[Picture]:
    """Squares of several sizes from all over the picture."""
    side = len(picture)
    found = []
    for share, places in WINDOWS:
        length = round(share * side)
        starts = np.linspace(0, side - length, places).round().astype(int)
        found += [picture[y : y + length, x : x + length] for y in starts for x in starts]
    return found


def recognised(judge: Judge, picture: Picture, stems: tuple[str, str]) -> list[bool]:
    """Whether each of two things is named in some window."""
    said = judge.name(windows(picture))
    return [stem in said for stem in stems]


def named_pairs(objects: Path, limit: int, seed: int) -> Iterator[Pair]:
    """Pairs of named training objects, drawn by the embedded model."""
    names = named_objects(objects)
    options = Options.of({"model": "mini"})
    manager = options.manager()
    backbone = backbone_for(manager, options.resolve(manager))
    rng = np.random.default_rng(seed)
    for number in range(limit):
        one, other = (str(stem) for stem in rng.choice(list(names), 2, replace=False))
        yield Pair(number, (names[one], names[other]), (one, other), backbone)


def draw_named(pair: Pair, way: str) -> Picture:
    """One picture by the backbone itself: named objects need no run."""
    side, how = pair.source.latent_side, {}
    if way == "regions":
        how = {"regions": Regions(dict.fromkeys(pair.words))}
    if way == "layout":
        left = (torch.arange(side) < side // 2).float().expand(side, side)
        how = {"regions": Regions(dict(zip(pair.words, (left, 1 - left), strict=True)))}
    return np.asarray(pair.source.generate([pair.prompt], seeds=[pair.number], **how)[0])


def learned_pairs(objects: Path, limit: int, seed: int) -> Iterator[Pair]:
    """Two learned tokens of one picture; scenes in which fewer were found are passed over."""
    stems = validation_stems(objects)
    for number in range(limit):
        scene = validation_scene(objects, stems, 1000 * seed + number)
        if len(scene.things) < 2:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                run = uce.run(Image.fromarray(scene.picture), Path(folder) / "run", model="mini")
            except uce.UceError:
                continue
            score = overlap(scene.masks, np.stack([concept.mask for concept in run.concepts]))
            best = [(int(row.argmax()), place) for place, row in enumerate(score) if row.max() >= 0.5]
            if len(best) >= 2 and best[0][0] != best[1][0]:
                words = [run.concepts[index].token for index, _ in best[:2]]
                things = [scene.things[place].stem for _, place in best[:2]]
                yield Pair(number, (words[0], words[1]), (things[0], things[1]), run)


def draw_learned(pair: Pair, way: str) -> Picture:
    """One picture with the run's tokens."""
    prompt = "a photo of {} next to {}".format(*pair.words)
    how: dict[str, Any] = {
        "regions": {"regions": True},
        "layout": {"layout": dict(zip(pair.words, HALVES, strict=True))},
    }
    return np.asarray(uce.generate(prompt, pair.source, seed=pair.number, **how.get(way, {}))[0].convert("RGB"))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of every way, how often one and how often both were recognised."""
    ways = dict.fromkeys(key for row in rows for key in row if key not in ("number", "words"))
    found = {way: np.array([row[way] for row in rows if way in row], bool) for way in ways}
    return {
        way: {"pairs": len(hits), "one": float(hits.mean()), "both": float(hits.all(axis=1).mean())}
        for way, hits in found.items()
    }


def measure(objects: Path, part: str, limit: int, seed: int, ways: list[str], out: Path, pictures: Path | None) -> None:
    """Draw and judge pair by pair."""
    rows: list[dict[str, Any]] = json.loads(out.read_text())["rows"] if out.is_file() else []
    done = {row["number"] for row in rows}
    stems = list(named_objects(objects)) if part == "named" else validation_stems(objects)
    judge, loader = quiet_judge(objects, stems), make_loader(lambda stem: load_object(objects, stem))
    pairs = (named_pairs if part == "named" else learned_pairs)(objects, limit, seed)
    draw = draw_named if part == "named" else draw_learned
    drawn: list[Picture] = []
    before: tuple[str, str] | None = None
    for pair in pairs:
        if pair.number not in done:
            row: dict[str, Any] = {"number": pair.number, "words": pair.words}
            for way in ways:
                drawn.append(draw(pair, way))
                row[way] = recognised(judge, drawn[-1], pair.stems)
            if before is not None:
                row["chance"] = recognised(judge, drawn[-1], before)
            real = compose([Thing(stem) for stem in pair.stems], loader, seed, pair.number, len(drawn[-1])).picture
            row["real"] = recognised(judge, real, pair.stems)
            rows.append(row)
            out.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1) + "\n")
            if pictures is not None:
                save_grid(drawn, pictures / f"{part}.png", columns=len(ways) * 4)
        before = pair.stems
    print(json.dumps(summary(rows), indent=1))


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--part", choices=["named", "learned"], default="named")
    parser.add_argument("--limit", type=int, default=50, help="pairs, or scenes to look for pairs in")
    parser.add_argument("--seed", type=int, default=2, help="which pairs; 1 was for tuning")
    parser.add_argument(
        "--ways", nargs="+", choices=["plain", "regions", "layout"], default=["plain", "regions", "layout"]
    )
    parser.add_argument("--pictures", type=Path, help="folder for a grid of what was drawn")
    parser.add_argument("--out", type=Path, required=True, help="the results as JSON")
    options = parser.parse_args()
    measure(options.objects, options.part, options.limit, options.seed, options.ways, options.out, options.pictures)


if __name__ == "__main__":
    main()
