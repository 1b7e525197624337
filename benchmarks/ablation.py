"""What each clusterer, extractor, refiner, initializer, optimizer and step of the paper is worth, on composed scenes.

    python benchmarks/ablation.py --objects FOLDER --work DIR --write docs/ablation.md

FOLDER holds the objects' pictures (see `uce.scenes.objects`); scenes are composed of validation objects, with truth.
Everything stays in DIR, and the same command continues what was interrupted, computes again what a change of code made
stale, and adds what is new. Hours on two cores; `--part` does one part, and the page shows those that are finished.

- clusterers, extractors, refiners: every one that is installed, preset `default` for the rest, masks against the truth.
- initializers, optimizers: every one, tokens learned at the preset's budget and judged.
- paper: its preset, and without one step at a time: no filter, no merge, no split-and-merge, no attention alignment;
  tokens learned at the default's budget, several seeds.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mini_quality import validation_scene, validation_stems
from PIL import Image

import uce
from uce.ablation.table import about_lines, count_lines, failure_lines, tables_of
from uce.core.config.options import Options
from uce.core.registry.manager import load_manager
from uce.many.tables import escaped
from uce.terminal.many import CellLines

CHAINS = [
    "none", "saliency", "merge", "saliency+merge", "saliency+merge+smooth", "saliency+merge+smooth+edges",
    "saliency+merge+split+smooth+edges",
]  # fmt: skip
STEPS = {
    "refiner": {"no filter": {"chain": ["merge"]}, "no merge": {"chain": ["saliency"]}},
    "initializer.split_tokens": [1],
    "optimizer.attention_weight": [0],
}
HEAD = """# Ablation

Composed scenes of validation objects with known truth, on the embedded model `mini`. [ablate.md](ablate.md) explains
the columns. Seconds are wall-clock on one CPU thread of a machine that did other things as well: they compare rows, not
machines.

Made by

```
{command}
```

with uce {version}: {scenes} scenes where masks are compared{learned}.
"""
PARTS = {
    "clusterers": ("Clusterers", "Preset `default`, stages one to three; only the clusterer changes."),
    "extractors": ("Extractors", "Preset `default`, stages one to three; only the extractor changes."),
    "refiners": (
        "Refiners",
        "Preset `default` but for the clusterer, `finch`, which leaves something to refine; stages one to three; only "
        "the chain changes.",
    ),
    "initializers": ("Initializers", "Preset `default`, all stages; only the initializer changes."),
    "optimizers": ("Optimizers", "Preset `default`, all stages; only the optimizer changes."),
    "paper": (
        "The paper's steps",
        "Preset `paper` with the default's number of steps, all stages, without one step at a time. "
        "`initializer.split_tokens=1` is the method without split-and-merge, `optimizer.attention_weight=0` without "
        "attention alignment.",
    ),
}


def compose_scenes(objects: Path, folder: Path, count: int) -> list[Path]:
    """`count` scenes as folder/scene-NN.png with their label PNGs in folder/truth; those that are there stay."""
    stems = validation_stems(objects)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    paths = [folder / f"scene-{index:02}.png" for index in range(count)]
    for index, path in enumerate(paths):
        if path.is_file() and (folder / "truth" / path.name).is_file():
            continue
        scene = validation_scene(objects, stems, index)
        labels = np.zeros(scene.picture.shape[:2], np.uint8)
        for number, mask in enumerate(scene.masks, start=1):
            labels[mask] = number
        Image.fromarray(labels).save(folder / "truth" / path.name)
        Image.fromarray(scene.picture).save(path)
    return paths


def installed(stage: str, first: str, without: tuple[str, ...] = ()) -> list[str]:
    """Every plugin of a stage, the default's first: it is the base row."""
    return [first, *sorted(set(load_manager().available(stage)) - {first, *without})]


def part_options(steps: int | None, seeds: int, drawn: int) -> dict[str, dict[str, Any]]:
    """What each part gives to `uce.ablate`."""
    default = Options().resolve(load_manager())
    budget = default.to_dict()["optimizer"]
    settings: dict[str, Any] = {"run.samples": 0, "run.threads": 1, "evaluate.count": drawn}
    if steps is not None:
        budget = {"steps": steps, "merge_step": max(1, steps // 5)}
        settings["optimizer.steps"] = steps
    learning: dict[str, Any] = {"evaluate": True, "set": settings}
    masks: dict[str, Any] = {"localize_only": True, "set": {"run.threads": 1}}
    paper = {**settings, "optimizer.steps": budget["steps"], "optimizer.merge_step": budget["merge_step"]}
    chains = [chain for chain in CHAINS if set(chain.split("+")) <= set(load_manager().available("refiner"))]

    def all_of(stage: str, *without: str) -> dict[str, list[str]]:
        return {stage: installed(stage, getattr(default, stage).plugin.name, without)}

    return {
        "clusterers": {"vary": all_of("clusterer", "given"), **masks},  # whose masks the user draws
        "extractors": {"vary": all_of("extractor"), **masks},
        "refiners": {"vary": {"refiner": chains}, "clusterer": "finch", **masks},
        "initializers": {"vary": all_of("initializer"), **learning},
        "optimizers": {"vary": all_of("optimizer"), **learning},
        "paper": {
            "vary": {**STEPS, "seed": list(range(seeds))}, "one_at_a_time": True, "preset": "paper", **learning,
            "set": paper,
        },
    }  # fmt: skip


def section(name: str, document: dict[str, Any]) -> str:
    """One part of the page."""
    title, text = PARTS[name]
    parts = [f"## {title}", text, " ".join(escaped(line) for line in about_lines(document))]
    parts += [table.markdown() for _, table in tables_of(document)]
    parts.append("Shared stages: " + "; ".join(count_lines(document)) + ".")
    failures = failure_lines(document)
    if failures:
        parts.append("Failed (scored as everything missed where nothing was found):")
        parts.append("\n".join(f"- {escaped(line)}" for line in failures))
    return "\n\n".join(parts) + "\n"


def finished(work: Path, name: str) -> dict[str, Any] | None:
    """A part's document, where it is finished."""
    path = work / name / "ablation.json"
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return document if document.get("finished") and "means" in document else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="scenes and runs; the same command goes on there")
    parser.add_argument("--write", type=Path, help="the Markdown page; default: standard output")
    parser.add_argument("--scenes", type=int, default=24, help="where masks are compared")
    parser.add_argument("--learn-scenes", type=int, help="where tokens are learned (all; 12 of the paper's part)")
    parser.add_argument("--seeds", type=int, default=2, help="of the paper's part")
    parser.add_argument("--steps", type=int, help="of learning; default: the preset's")
    parser.add_argument("--drawn", type=int, default=4, help="pictures of each token")
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    given = parser.parse_args()
    pictures = compose_scenes(given.objects, given.work / "scenes", given.scenes)
    shown = ["python", "benchmarks/ablation.py", "--objects", "FOLDER", "--work", "DIR", "--write", "docs/ablation.md"]
    for flag in ("scenes", "learn_scenes", "seeds", "steps", "drawn"):
        if getattr(given, flag) != parser.get_default(flag):
            shown += [f"--{flag.replace('_', '-')}", str(getattr(given, flag))]
    paper_scenes = given.learn_scenes or min(12, given.scenes)
    for name, options in part_options(given.steps, given.seeds, given.drawn).items():
        if given.part not in (name, "all"):
            continue
        print(f"== {name}", file=sys.stderr)
        several = paper_scenes if name == "paper" else given.learn_scenes or given.scenes
        count = given.scenes if options.get("localize_only") else several
        uce.ablate(
            pictures[:count], given.work / name, truth=given.work / "scenes" / "truth", model="mini", resume=True,
            observers=[CellLines()], **options,
        )  # fmt: skip
    found = {name: finished(given.work, name) for name in PARTS}
    learned = (
        f", {given.learn_scenes or given.scenes} ({paper_scenes} and {given.seeds} seeds for the paper's steps) where "
        f"tokens are learned, {given.drawn} pictures drawn of each token"
    )
    some = any(found[name] for name in ("initializers", "optimizers", "paper"))
    head = HEAD.format(
        command=shlex.join(shown), version=uce.__version__, scenes=given.scenes, learned=learned if some else ""
    )
    text = "\n".join([head, *(section(name, document) for name, document in found.items() if document)])
    if given.write:
        given.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
