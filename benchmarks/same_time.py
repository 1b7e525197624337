"""How far training gets in the same time: the preset `default` against `paper`, by the masked denoising error.

    python benchmarks/same_time.py --quick
    python benchmarks/same_time.py --scenes 8 --write

Scenes are those that ship with uce (split "validation"), masks are the truth on the model's grid, so that learning is
measured alone. The preset `default` trains to its end, which takes T seconds of CPU time on one thread; `paper` gets
the same T. Errors are taken at parts of T on a fixed set of 12 timesteps with two noises each: the squared error of
the prediction inside each concept's mask, with a concept's split tokens averaged. Measuring it costs no time of T.
CPU time is what the clock would say on a machine that does nothing else; threads are one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import README, machine, machine_line, markdown, shown, spread, write_results
from PIL import Image
from token_learning import Case, masked_error
from torch import Tensor

from uce.benchmarking.pictures import read_pictures
from uce.core import Concepts, Context
from uce.core.config.presets import PRESETS
from uce.core.flow.picture import read_picture
from uce.core.registry.manager import load_manager
from uce.plugins.initializers.split_merge import SplitMergeInitializer
from uce.plugins.optimizers.masked_denoising import MaskedDenoisingOptimizer

PARTS = (0.25, 0.5, 0.75, 1.0)
TRACES = ("default", "paper")


class TimeIsUp(Exception):  # noqa: N818 - no error
    """Ends a training."""


class Trace:
    """Watches a training: keeps the tokens at given CPU seconds, and ends it after the last.

    It stands in for the checkpoint, which is given the tokens after every update.
    """

    def __init__(self, num_concepts: int, budget: float | None) -> None:
        self.num, self.budget = num_concepts, budget
        self.taken: list[tuple[float, int, Tensor]] = []
        self.begun = time.process_time()
        self.lost = 0.0

    def load(self) -> None:
        return None

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        now = time.process_time()
        rows = tensors["vectors.clip"]
        self.taken.append((now - self.begun - self.lost, int(values["update"]), rows.clone()))
        if self.budget is not None and self.taken[-1][0] > self.budget:
            raise TimeIsUp
        self.lost += time.process_time() - now

    def at(self, seconds: float) -> tuple[int, Tensor | None]:
        """Updates done by then, and the concepts' vectors (K, d); None before the first."""
        done = [entry for entry in self.taken if entry[0] <= seconds]
        if not done:
            return 0, None
        _, update, rows = done[-1]
        return update, rows.reshape(-1, self.num, rows.shape[1]).mean(dim=0)


def cases(backbone: Any, count: int) -> list[Case]:
    """Shipped validation scenes with their truth."""
    side, found = backbone.latent_side, []
    pictures = read_pictures("validation", limit=count)
    assert pictures.truth is not None
    for entry in pictures.entries:
        labels = torch.from_numpy(np.asarray(Image.open(pictures.truth / f"{entry.name}.png")).astype(np.int64))
        layers = torch.stack([labels == value for value in range(1, int(labels.max()) + 1)]).float()[None]
        masks = torch.nn.functional.adaptive_avg_pool2d(layers, (side, side))[0] >= 0.5
        masks = masks[masks.flatten(1).any(dim=1)]
        maps = torch.nn.functional.avg_pool2d(masks.float()[:, None], 3, 1, 1)[:, 0].flatten(1) + 0.01
        concepts = Concepts(masks=masks, maps=maps / maps.sum(dim=1, keepdim=True), scores=torch.ones(len(masks)))
        found.append(Case(read_picture(Image.open(entry.path), side=backbone.picture_side), concepts))
    return found


def train(backbone: Any, case: Case, preset: str, seed: int, budget: float | None, steps: int | None) -> Trace:
    """One training; `budget` CPU seconds end it."""
    chosen = PRESETS[preset]["optimizer"]
    given = {} if isinstance(chosen, str) else {key: value for key, value in chosen.items() if key != "plugin"}
    if steps is not None and preset == "default":
        given["steps"] = steps
    settings = MaskedDenoisingOptimizer.Settings(**given)
    initializer = SplitMergeInitializer()
    trace = Trace(len(case.concepts), budget)
    plan = initializer.uce_initialize_tokens(
        case.concepts, backbone, initializer.Settings(), Context(seed=seed, stage="initializer")
    )
    context = Context(seed=seed, stage="optimizer", checkpoint=trace, checkpoint_every=1)
    with contextlib.suppress(TimeIsUp):
        MaskedDenoisingOptimizer().uce_optimize(plan, case.concepts, backbone, case.picture, settings, context)
    return trace


def compare(backbone: Any, case: Case, seed: int, steps: int | None) -> dict[str, Any]:
    """Errors of both presets at parts of the default's time."""
    traces = {"default": train(backbone, case, "default", seed, None, steps)}
    whole = traces["default"].taken[-1][0]
    traces["paper"] = train(backbone, case, "paper", seed, whole, steps)
    row: dict[str, Any] = {"seconds": whole, "none": float(masked_error(backbone, case, None).mean())}
    for name, trace in traces.items():
        row[name] = []
        for part in PARTS:
            update, vectors = trace.at(part * whole)
            error = masked_error(backbone, case, vectors).mean()
            row[name].append({"updates": update, "error": float(error)})
    return row


def report(document: dict[str, Any]) -> str:
    """A table of means over scenes."""
    rows = document["scenes"]
    lines = []
    for index, part in enumerate(PARTS):
        line = [f"{part:.0%}", f"{np.mean([row['seconds'] for row in rows]) * part:.1f}"]
        for name in TRACES:
            line.append(f"{np.mean([row[name][index]['updates'] for row in rows]):.0f}")
            line.append(shown(spread([row[name][index]["error"] for row in rows]), digits=3))
        better = sum(row["default"][index]["error"] < row["paper"][index]["error"] for row in rows)
        lines.append([*line, f"{better} of {len(rows)}"])
    none = shown(spread([row["none"] for row in rows]), digits=3)
    head = ["part of T", "CPU s", "`default` updates", "error", "`paper` updates", "error", "`default` is lower"]
    text = f"Error: median over scenes (lowest to highest), lower is better. A prompt without any token has {none}."
    return f"{machine_line(document['machine'])}\n\n{text}\n\n{markdown(head, lines)}"


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--steps", type=int, help="of the preset default, other than its own")
    parser.add_argument("--quick", action="store_true", help="one scene, 12 steps")
    parser.add_argument("--write", action="store_true", help=f"put the table into {README.name}")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_manager().pm.hook.uce_load_backbone(
        model=given.model, settings=None, device="cpu", precision="float32"
    )
    steps = 12 if given.quick and not given.steps else given.steps
    document: dict[str, Any] = {"machine": machine(), "model": given.model, "scenes": []}
    for number, case in enumerate(cases(backbone, 1 if given.quick else given.scenes)):
        document["scenes"].append(compare(backbone, case, number, steps))
        print(f"scene {number}: {json.dumps(document['scenes'][-1])}", file=sys.stderr, flush=True)
    text = report(document)
    print(text)
    if given.json:
        given.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if given.write:
        write_results("same_time", document, text)


if __name__ == "__main__":
    main()
