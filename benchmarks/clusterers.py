"""Every clusterer under the preset `default` on the same composed scenes, each scene's attention read once.

    python benchmarks/clusterers.py --objects FOLDER --split test --scenes 40 --markdown clusterers.md

FOLDER holds the objects' pictures (see `uce.scenes.objects`). Scenes are like those of
`benchmarks/mini_quality.py` (one to four things, 512 pixels); tune on `validation` only. `--kinds N` measures N scenes
of every kind of `uce.scenes.sets` instead (photographs twice as many), by kind.
Only the clusterer changes; `--set` and `--foreground` are passed on to all, and `--maps FOLDER` keeps the attention.

- IoU: mean over scenes of the mean over true things of the IoU with the best concept; 0 where nothing is found.
- exact count: share of scenes with as many concepts as things. too many, too few: the others.
- fail: scenes that end with an error.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_quality import overlap
from PIL import Image

import uce
from uce.core.config.options import Options
from uce.core.flow.data import AttentionMaps
from uce.core.flow.picture import read_picture
from uce.core.work.cache import StageCache
from uce.core.work.models import backbone_for
from uce.core.work.pipeline import Work
from uce.scenes.composing import Scene, compose
from uce.scenes.objects import Split, is_face, list_objects, load_object
from uce.scenes.sets import KINDS, compose_scene, look_alike
from uce.scenes.things import Thing, make_loader

CLUSTERERS = ("normalized-cuts", "spectral", "kmeans", "finch", "hierarchical", "hdbscan")
SIDE = 512


def scenes(objects: Path, split: Split, first: int, number: int, kinds: int, seed: int) -> Iterator[tuple[str, Scene]]:
    """(kind, scene) one after the other; the kind of plain quality scenes is "quality"."""
    stems = [stem for stem in list_objects(objects, split) if not is_face(stem)]
    loader = make_loader(lambda stem: load_object(objects, stem, 256))
    if not kinds:
        for index in range(first, first + number):
            rng = np.random.default_rng((seed, index))
            chosen = rng.choice(stems, int(rng.integers(1, 5)), replace=False)
            yield "quality", compose([Thing(str(stem)) for stem in chosen], loader, seed, index, SIDE)
        return
    alike = look_alike(stems, loader)
    for kind, what in KINDS.items():
        for index in range(kinds * what.times):
            yield kind, compose_scene(kind, index, stems, loader, split, seed, alike=alike)


class Bench:
    """Stages one to three; the attention of the latest scene is kept, and in a folder where there is one."""

    def __init__(self, folder: Path | None, options: dict[str, Any]) -> None:
        self.folder, self.options = folder, options

    def measure(self, name: str, scene: Scene, clusterers: list[str]) -> Iterator[dict[str, Any]]:
        """One row per clusterer."""
        attention: AttentionMaps | None = None
        for clusterer in clusterers:
            options = Options.of({"model": "mini", "clusterer": clusterer, **self.options})
            manager = options.manager()
            config = options.resolve(manager)
            backbone = backbone_for(manager, config)
            picture = read_picture(Image.fromarray(scene.picture), backbone.picture_side, config.run.fit)
            pipeline = Work(manager, config, backbone, picture)
            if attention is None:
                attention = self._attention(name, pipeline)
            try:
                found = np.asarray(pipeline.localize(attention).pixel_masks)
            except uce.UceError as error:
                yield {"clusterer": clusterer, "iou": 0.0, "more": 0, "error": str(error)}
                continue
            iou = float(overlap(scene.masks, found).max(axis=1).mean())
            yield {"clusterer": clusterer, "iou": iou, "more": len(found) - len(scene.masks), "error": ""}

    def _attention(self, name: str, pipeline: Work) -> AttentionMaps:
        cache = StageCache(self.folder)
        assert pipeline.picture is not None
        kept = cache.get(name, pipeline.picture.digest)
        if isinstance(kept, AttentionMaps):
            return kept
        found = pipeline.extract()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        cache.put(name, pipeline.picture.digest, found)
        return found


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """IoU, exact count, too many, too few, failures and number of some rows, as text."""
    worked = [row for row in rows if not row["error"]]
    shares = [sum(test(row["more"]) for row in worked) / len(rows) for test in (_same, _many, _few)]
    iou = float(np.mean([row["iou"] for row in rows]))
    return [f"{iou:.3f}", *(f"{share:.0%}" for share in shares), str(len(rows) - len(worked)), str(len(rows))]


def _same(more: int) -> bool:
    return more == 0


def _many(more: int) -> bool:
    return more > 0


def _few(more: int) -> bool:
    return more < 0


def table(rows: list[dict[str, Any]], clusterers: list[str]) -> str:
    """Of all scenes, and below it the exact counts by kind where there are several."""
    lines = ["| clusterer | IoU | exact count | too many | too few | fail | n |", "|" + " --- |" * 7]
    for name in clusterers:
        lines.append(f"| {name} | " + " | ".join(summary([row for row in rows if row["clusterer"] == name])) + " |")
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    if len(kinds) > 1:
        lines += ["", "| exact count | " + " | ".join(kinds) + " |", "|" + " --- |" * (len(kinds) + 1)]
        for name in clusterers:
            own = [[r for r in rows if (r["clusterer"], r["kind"]) == (name, kind)] for kind in kinds]
            cells = [f"{sum(_same(r['more']) and not r['error'] for r in group)}/{len(group)}" for group in own]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--kinds", type=int, default=0, help="instead: so many scenes of every kind")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--clusterers", nargs="+", default=list(CLUSTERERS))
    parser.add_argument("--set", action="append", default=[], help="passed on to uce, KEY=VALUE")
    parser.add_argument("--foreground", help="passed on to uce: another foreground step")
    parser.add_argument("--maps", type=Path, help="folder that keeps the attention")
    parser.add_argument("--json", type=Path, help="write every row")
    parser.add_argument("--markdown", type=Path, help="write the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.maps, {"set": options.set, "foreground": options.foreground})
    rows = []
    found = scenes(options.objects, options.split, options.first, options.scenes, options.kinds, options.seed)
    for number, (kind, scene) in enumerate(found):
        name = f"{options.split}-{options.seed}-{kind}-{options.first + number}"
        for row in bench.measure(name, scene, options.clusterers):
            rows.append({"scene": name, "kind": kind, **row})
    text = table(rows, options.clusterers)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
