"""Every extractor, clusterer and refiner on the same composed scenes of validation objects, with the embedded model.

    python benchmarks/localisation_methods.py --objects FOLDER --scenes 24 --json methods.json --markdown methods.md

FOLDER holds the objects' pictures (see `uce.scenes.objects`). One stage varies at a time; the
others are the default preset's, but for refiners, which follow `finch`: it leaves them something to do. Other
extractors than the preset's get its `cells` and `saliency_side`.

- iou: mean over the true things of the IoU with the best concept; a scene in which nothing is found counts 0.
- exact: share of scenes with as many concepts as things (one more where `background` adds one).
- seconds: mean CPU seconds per scene of the stage that varies (of the last refiner of a chain).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_quality import overlap, validation_scene, validation_stems
from PIL import Image

import uce
from uce.core.config.options import Options
from uce.core.flow.data import AttentionMaps
from uce.core.flow.events import StageFinished, StageStarted
from uce.core.flow.picture import read_picture
from uce.core.work.models import backbone_for
from uce.core.work.pipeline import Work
from uce.plugins.extractors.self_attention import SelfAttentionExtractor
from uce.scenes.composing import Scene

FINE = {"extractor.cells": 32, "extractor.own_size": True, "extractor.saliency_side": 16}
CHAIN = ["saliency", "merge", "smooth", "edges"]


@dataclass
class Clock:
    """An observer: CPU seconds of the latest call of every stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = 0.0

    @uce.hookimpl
    def uce_stage_started(self, event: StageStarted) -> None:
        self.started = time.process_time()

    @uce.hookimpl
    def uce_stage_finished(self, event: StageFinished) -> None:
        self.seconds[event.stage] = time.process_time() - self.started


@dataclass(frozen=True)
class Variant:
    """One row: which stage varies, and what is passed to uce."""

    stage: str
    name: str
    options: dict[str, Any]
    extra: int = 0


def variants(masks: Path) -> Iterator[Variant]:
    """All rows; `masks` is where a scene's true masks lie, for the clusterer `given`."""
    yield Variant("extractor", "self-attention (preset)", {})
    paper = {f"extractor.{key}": value for key, value in SelfAttentionExtractor.Settings().model_dump().items()}
    yield Variant("extractor", "self-attention (paper)", {"set": paper})
    smooth = FINE | {"extractor.queries": "interpolate"}
    for name, settings in {"multi-step": {}, "multi-step, inverted": {"extractor.noise": "inverted"}}.items():
        yield Variant("extractor", name, {"extractor": "multi-step", "set": smooth | settings})
    yield Variant("extractor", "features", {"extractor": "features", "set": FINE})
    for name in ("normalized-cuts", "finch", "kmeans", "hierarchical", "hdbscan", "spectral", "diffseg"):
        yield Variant("clusterer", name, {"clusterer": name})
    yield Variant("clusterer", "given (the truth)", {"clusterer": "given", "set": {"clusterer.masks": str(masks)}})
    base = {"clusterer": "finch", "set": {"refiner.saliency.threshold": 1.2}}
    yield Variant("refiner", "none", base | {"refiner": ["none"], "set": {}})
    for length in range(1, len(CHAIN) + 1):
        chain = CHAIN[:length]
        yield Variant("refiner", "+".join(chain), base | {"refiner": chain})
    chain = ["saliency", "merge", "split", "edges"]
    yield Variant("refiner", "+".join(chain), base | {"refiner": chain})
    yield Variant("refiner", "+".join([*CHAIN, "background"]), base | {"refiner": [*CHAIN, "background"]}, extra=1)


class Bench:
    """Runs stages one to three and keeps the maps of extractors that were run already."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.maps: dict[tuple[int, str], tuple[AttentionMaps, float]] = {}

    def measure(self, variant: Variant, scene: Scene, index: int) -> dict[str, float]:
        options = Options(model="mini", observers=[self.clock], **variant.options)
        manager = options.manager()
        config = options.resolve(manager)
        backbone = backbone_for(manager, config)
        picture = read_picture(Image.fromarray(scene.picture), backbone.picture_side, config.run.fit)
        pipeline = Work(manager, config, backbone, picture)
        key = (index, repr(config.to_dict()["extractor"]))
        if key not in self.maps:
            self.maps[key] = pipeline.extract(), self.clock.seconds["extractor"]
        maps, seconds = self.maps[key]
        try:
            concepts = pipeline.localize(maps)
            found = np.asarray(concepts.pixel_masks)
        except uce.UceError:  # nothing salient: everything is missed
            found = np.zeros((0, *scene.picture.shape[:2]), np.bool_)
        best = overlap(scene.masks, found).max(1) if len(found) else np.zeros(len(scene.masks))
        if variant.stage != "extractor":
            seconds = self.clock.seconds[variant.stage]
        return {
            "iou": float(best.sum()),
            "things": len(scene.masks),
            "exact": float(len(found) == len(scene.masks) + variant.extra),
            "seconds": seconds,
        }


def write_masks(scene: Scene, folder: Path) -> None:
    for old in folder.glob("*.png"):
        old.unlink()
    for number, mask in enumerate(scene.masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"mask{number}.png")


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| stage | method | IoU | exact count | CPU s |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['stage']} | {row['method']} | {row['iou']:.2f} | {row['exact']:.0%} | {row['seconds']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--only", help="measure rows whose stage or method holds this text")
    parser.add_argument("--json", type=Path, help="write the rows as JSON")
    parser.add_argument("--markdown", type=Path, help="write the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stems = validation_stems(options.objects)
    bench = Bench()
    totals: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        chosen = [v for v in variants(Path(folder)) if not options.only or options.only in f"{v.stage} {v.name}"]
        for index in range(options.scenes):
            scene = validation_scene(options.objects, stems, index)
            write_masks(scene, Path(folder))
            for variant in chosen:
                totals.setdefault((variant.stage, variant.name), []).append(bench.measure(variant, scene, index))
            bench.maps.clear()
    rows = [
        {
            "stage": stage,
            "method": name,
            "iou": sum(r["iou"] for r in results) / sum(r["things"] for r in results),
            "exact": float(np.mean([r["exact"] for r in results])),
            "seconds": float(np.mean([r["seconds"] for r in results])),
        }
        for (stage, name), results in totals.items()
    ]
    if options.json:
        options.json.write_text(json.dumps({"scenes": options.scenes, "rows": rows}, indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
