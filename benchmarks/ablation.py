"""What each clusterer, each refiner and each step of the paper's method is worth, on composed scenes with truth.

    python benchmarks/ablation.py --objects FOLDER --scenes 24 --learn-scenes 4 --steps 100 --write docs/ablation.md

FOLDER holds the objects' pictures (see `uce.scenes.objects`). Scenes are composed of
validation objects. With `--work DIR` scenes and run folders stay there, and the same command continues what was
interrupted.

- clusterers: every one that is installed, but for `given`, whose masks the user draws; preset `default`.
- refiners: chains that grow by one step; preset `default` for the rest.
- the paper: its preset, and one change at a time: no filtering, no post-clustering, no split-and-merge, no attention
  alignment. This part learns tokens, hence on fewer scenes.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mini_quality import validation_scene, validation_stems
from PIL import Image

import uce
from uce.ablation.table import count_lines, failure_lines, table_of
from uce.core.registry.manager import load_manager
from uce.terminal.many import CellLines

CHAINS = [
    "none", "saliency", "merge", "saliency+merge", "saliency+merge+smooth", "saliency+merge+smooth+edges",
    "saliency+merge+split+smooth+edges",
]  # fmt: skip
HEAD = """# Ablation

Composed scenes of validation objects with known truth, on the embedded model `mini`. The columns are explained in
[ablate.md](ablate.md); the best score of each column is bold. Seconds are wall-clock on one CPU thread of a machine
that did other things as well: they compare rows, not machines.

Made by

```
{command}
```

with uce {version} and model {model} ({scenes} scenes; {learn_scenes} where tokens are learned, {steps} steps).
"""
PARTS = {
    "clusterers": ("Clusterers", "Preset `default`, stages one to three; only the clusterer changes."),
    "refiners": (
        "Refiners",
        "Preset `default` but for the clusterer, `finch`, which leaves something to refine; stages one to three; only "
        "the chain changes, each refiner with its own defaults.",
    ),
    "paper": (
        "The paper's steps",
        "Preset `paper`, all stages, one change at a time. `refiner=merge` is the method without filtering, "
        "`refiner=saliency` without post-clustering, `initializer.split_tokens=1` without split-and-merge, "
        "`optimizer.attention_weight=0` without attention alignment.",
    ),
}


def compose_scenes(objects: Path, folder: Path, count: int) -> list[Path]:
    """`count` scenes as folder/scene-NN.png with their label PNGs in folder/truth."""
    stems = validation_stems(objects)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        scene = validation_scene(objects, stems, index)
        labels = np.zeros(scene.picture.shape[:2], np.uint8)
        for number, mask in enumerate(scene.masks, start=1):
            labels[mask] = number
        paths.append(folder / f"scene-{index:02}.png")
        Image.fromarray(scene.picture).save(paths[-1])
        Image.fromarray(labels).save(folder / "truth" / paths[-1].name)
    return paths


def part_options(steps: int) -> dict[str, dict[str, Any]]:
    """What each part gives to `uce.ablate`."""
    clusterers = sorted(set(load_manager().available("clusterer")) - {"given"})
    chains = [chain for chain in CHAINS if set(chain.split("+")) <= set(load_manager().available("refiner"))]
    paper = {
        "refiner": ["merge", "saliency"],
        "initializer.split_tokens": [1],
        "optimizer.attention_weight": [0],
    }
    learning = {"optimizer.steps": steps, "optimizer.merge_step": max(1, steps // 5), "run.samples": 0}
    return {
        "clusterers": {"vary": {"clusterer": clusterers}, "localize_only": True},
        "refiners": {"vary": {"refiner": chains}, "localize_only": True, "clusterer": "finch"},
        "paper": {"vary": paper, "one_at_a_time": True, "preset": "paper", "set": learning},
    }


def section(name: str, done: uce.Ablation) -> str:
    """One part of the page."""
    title, text = PARTS[name]
    parts = [f"## {title}", text, table_of(done.document).markdown()]
    parts.append("Shared stages: " + "; ".join(count_lines(done.document)) + ".")
    failures = failure_lines(done.document)
    if failures:
        parts.append("Failed (scored as everything missed where nothing was found):")
        parts.append("\n".join(f"- {line}" for line in failures))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--learn-scenes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--work", type=Path, help="keep scenes and runs here, and continue what was interrupted")
    parser.add_argument("--write", type=Path, help="the Markdown page; default: standard output")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        pictures = compose_scenes(given.objects, work / "scenes", max(given.scenes, given.learn_scenes))
        shown = ["python", "benchmarks/ablation.py", "--objects", "FOLDER", "--scenes", str(given.scenes)]
        shown += ["--learn-scenes", str(given.learn_scenes), "--steps", str(given.steps)]
        sections, model = [], ""
        for name, options in part_options(given.steps).items():
            if given.part not in (name, "all"):
                continue
            print(f"== {name}", file=sys.stderr)
            count = given.learn_scenes if name == "paper" else given.scenes
            done = uce.ablate(
                pictures[:count], work / name, truth=work / "scenes" / "truth", model=given.model, resume=True,
                observers=[CellLines()], **options,
            )  # fmt: skip
            sections.append(section(name, done))
            runs = [path for path in sorted((work / name / "runs").glob("*/*")) if (path / "concepts.json").is_file()]
            model = uce.load(runs[0]).info["model"]["fingerprint"][:12] if runs else model
        head = HEAD.format(
            command=shlex.join(shown), version=uce.__version__, model=f"{given.model} `{model}`",
            scenes=given.scenes, learn_scenes=given.learn_scenes, steps=given.steps,
        )  # fmt: skip
    text = "\n".join([head, *sections])
    if given.write:
        given.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
