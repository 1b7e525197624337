"""Whether it pays to train the concepts of several pictures in one UNet pass.

    OMP_NUM_THREADS=1 python benchmarks/pack.py --threads 1
    python benchmarks/pack.py --device cuda --precision bfloat16 --model MODEL --passes 1,2,4,8,16,32,64

Three measurements, on composed scenes that ship with uce, with their true masks and the default settings:

- `pass`: one forward and backward pass over B prompts of one picture, with attention term and without: seconds per
  prompt. What packing can win at most is the ratio between the passes of a single picture and a fuller one.
- `update`: the updates of N pictures one after the other, and packed: one pass over the prompts of all N, with token
  rows, losses and AdamW of each picture its own. Seconds per picture and update, before the merge and after it.
- `bytes`: whether the gradients of a picture are the same bits packed and alone.

Times are medians over `--repeats`, packed and alone in turn, so that a machine that slows down slows both: seconds of
processor on a CPU (other work on the machine does not count), of the clock elsewhere or with `--wall`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.benchmarking.pictures import read_pictures
from uce.core import Concepts, Context
from uce.core.config.options import Options
from uce.core.config.presets import DEFAULT
from uce.core.flow.picture import read_picture
from uce.core.model.backbone import Prompt
from uce.core.training.alignment import Alignment
from uce.core.training.loop import Training
from uce.core.training.objective import Draws, Objective
from uce.core.training.options import TrainingOptions
from uce.core.training.rows import TokenRows
from uce.core.training.schedule import Update
from uce.core.work.models import backbone_for
from uce.plugins.initializers.split_merge import SplitMergeInitializer

NUMBERS = {key: value for key, value in DEFAULT["optimizer"].items() if key != "plugin"}


def make_trainings(backbone: Any, count: int, options: TrainingOptions) -> list[Training]:
    """One training per scene, ready for its first update."""
    scenes = read_pictures("validation", limit=count)
    assert scenes.truth is not None
    trainings = []
    for seed, entry in enumerate(scenes.entries):
        picture = read_picture(Image.open(entry.path), side=backbone.picture_side)
        with Image.open(scenes.truth / f"{entry.name}.png") as file:
            labels = torch.from_numpy(np.asarray(file).astype(np.int64))
        things = torch.stack([labels == label for label in labels.unique() if label > 0])
        side = backbone.latent_side
        masks = torch.nn.functional.adaptive_avg_pool2d(things.float()[None], (side, side))[0] >= 0.5
        maps = torch.nn.functional.avg_pool2d(masks.float()[:, None], 3, 1, 1)[:, 0].flatten(1) + 0.01
        concepts = Concepts(masks, maps / maps.sum(dim=1, keepdim=True), torch.ones(len(masks)))
        given = {"settings": SplitMergeInitializer.Settings(), "context": Context(seed=seed, stage="initializer")}
        plan = SplitMergeInitializer().uce_initialize_tokens(concepts=concepts, backbone=backbone, **given)
        context = Context(seed=seed, stage="optimizer", device=backbone.device)
        trainings.append(Training(plan, concepts, backbone, picture, options, context, None, None, Alignment))
    return trainings


@dataclass
class Pack:
    """Several trainings whose prompts share UNet passes; rows, losses and updates stay each picture's own."""

    trainings: Sequence[Training]
    micro_batch: int

    def __post_init__(self) -> None:
        first = self.trainings[0].objective
        most = max(t.rows.num_concepts for t in self.trainings)
        objectives = [t.objective for t in self.trainings]
        alignment = first.alignment
        if alignment is not None:
            targets = [_padded(o.alignment.targets, most) for o in objectives if o.alignment is not None]
            alignment = replace(alignment, targets=torch.cat(targets))
        # picture p, mirrored or not, is entry 2 p + flip of everything that an objective looks up by `flips`
        self.objective = Objective(
            first.backbone,
            first.options,
            torch.cat([o.latents for o in objectives]),
            torch.cat([_padded(o.masks, most) for o in objectives]),
            alignment,
            self.micro_batch,
        )

    def backward(self, updates: Sequence[Update]) -> None:
        """The gradient of every picture's loss on its own rows, from passes over all their prompts."""
        shown, draws, counts, weights, offset = [], [], [], [], 0
        prompts: list[Prompt] = []
        for p, (training, update) in enumerate(zip(self.trainings, updates, strict=True)):
            own = training.objective.draws(training.context, update)
            draws.append(Draws(own.timesteps, own.noise, own.flips.long() + 2 * p))
            prompts += [_shifted(training._prompt(rows), offset) for rows in update.prompts]
            shown += [tuple(row + offset for row in rows) for rows in update.prompts]
            counts += [(offset, training.rows.num_concepts)] * len(update.prompts)
            weights += [1 / len(update.prompts)] * len(update.prompts)
            offset += training.rows.num_rows
            if update.phase == "split":
                loss = training.objective._contrastive(training.rows) * training.options.contrastive_weight
                loss.backward()
        every = Draws(*(torch.cat([getattr(d, name) for d in draws]) for name in ("timesteps", "noise", "flips")))
        for start in range(0, len(prompts), self.micro_batch):
            part = slice(start, start + self.micro_batch)
            chunk = Draws(every.timesteps[part], every.noise[part], every.flips[part])
            self._pass(prompts[part], shown[part], chunk, counts[part], torch.tensor(weights[part]))

    def _pass(
        self,
        prompts: Sequence[Prompt],
        shown: Sequence[tuple[int, ...]],
        draws: Draws,
        counts: Sequence[tuple[int, int]],
        weights_B: Tensor,
    ) -> None:
        """As `Objective.losses`, with the weight of a prompt its own picture's."""
        objective, backbone = self.objective, self.objective.backbone
        device = objective.latents.device
        timesteps, noise, index = (x.to(device) for x in (draws.timesteps, draws.noise, draws.flips))
        rows = {
            encoder: torch.cat([t.rows.vectors[encoder] for t in self.trainings])
            for encoder in self.trainings[0].rows.vectors
        }
        latents = objective.latents[index]
        conditioning = backbone.encode_prompts(prompts, rows)
        noisy = backbone.add_noise(latents, noise, timesteps)
        concept_of = [
            tuple((row - first) % number for row in rows_) for rows_, (first, number) in zip(shown, counts, strict=True)
        ]
        width = max(len(rows_) for rows_ in shown)
        columns = [[prompt.positions(row)[0] for row in rows_] for prompt, rows_ in zip(prompts, shown, strict=True)]
        columns = [found + found[:1] * (width - len(found)) for found in columns]
        pairs = [
            (i, j, int(draws.flips[i]), concept)
            for i, found in enumerate(concept_of)
            for j, concept in enumerate(found)
        ]
        assert objective.alignment is not None
        with backbone.capture(objective.alignment.capture(torch.tensor(columns))) as maps:
            prediction = backbone.predict(noisy, timesteps, conditioning)
        mask = torch.zeros(len(shown), objective.masks.shape[1], device=device)
        for i, found in enumerate(concept_of):
            mask[i, list(found)] = 1
        union = torch.einsum("bk,bkhw->bhw", mask, objective.masks[index]).clamp(max=1)[:, None]
        target = backbone.target(latents, noise, timesteps)
        error_B = ((prediction.float() - target.float()) * union).square().flatten(1).mean(dim=1)
        share = weights_B.to(device)
        distances = objective.alignment.losses(maps, pairs) * share[[i for i, *_ in pairs]]
        ((error_B * share).sum() + objective.options.attention_weight * distances.sum()).backward()


def _padded(values: Tensor, most: int) -> Tensor:
    """(2, K, ...) as (2, most, ...)."""
    empty = values.new_zeros(2, most - values.shape[1], *values.shape[2:])
    return torch.cat([values, empty], dim=1)


def _shifted(prompt: Prompt, offset: int) -> Prompt:
    """The prompt with slots counted from `offset`."""
    slots = {key: torch.where(value >= 0, value + offset, value) for key, value in prompt.slots.items()}
    return replace(prompt, slots=slots)


CLOCK = time.process_time


def seconds(works: Sequence[Callable[[], Any]], repeats: int, device: str) -> list[float]:
    """Median seconds of each, done in turn."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, found in zip(works, times, strict=True):
            started = CLOCK()
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if turn:  # the first warms up
                found.append(CLOCK() - started)
    return [statistics.median(found) for found in times]


def measure_passes(training: Training, sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """Seconds per prompt of one pass over so many prompts."""
    rows = []
    for size in sizes:
        update = Update(1, 1, "merged", tuple((i % training.rows.num_rows,) for i in range(size)))
        prompts = [training._prompt(shown) for shown in update.prompts]
        draws = training.objective.draws(training.context, update)
        full = replace(training.objective, micro_batch=size)
        given = (training.rows, prompts, update.prompts, draws, False)
        works = [partial(objective.backward, *given) for objective in (full, replace(full, alignment=None))]
        both = seconds(works, repeats, training.backbone.device)
        rows.append({"prompts": size, "s_per_prompt": both[0] / size, "without_attention": both[1] / size})
        print("pass", json.dumps(rows[-1]), flush=True)
    return rows


def step_alone(trainings: Sequence[Training], updates: Sequence[Update]) -> None:
    for training, update in zip(trainings, updates, strict=True):
        training.step(update)


def step_packed(pack: Pack, trainings: Sequence[Training], updates: Sequence[Update]) -> None:
    pack.backward(updates)
    for training in trainings:
        training.rows.update(training.rate, training.options.weight_decay, training.options.clip)
        training.rows.limit(training.longest)


def measure_updates(trainings: Sequence[Training], micro_batch: int, repeats: int) -> list[dict[str, Any]]:
    """Updates of all pictures one after the other, and packed."""
    rows = []
    for phase in ("split", "merged"):
        if phase == "merged":
            for training in trainings:
                training._merge()
        updates = [next(u for u in t.schedule.updates() if u.phase == phase) for t in trainings]

        for count in sorted({2, 4, len(trainings)}):
            if count > len(trainings):
                continue
            given = (trainings[:count], updates[:count])
            works = [partial(step_alone, *given), partial(step_packed, Pack(trainings[:count], micro_batch), *given)]
            one, together = seconds(works, repeats, trainings[0].backbone.device)
            prompts = [len(update.prompts) for update in updates[:count]]
            row = {"phase": phase, "pictures": count, "prompts": prompts, "micro_batch": micro_batch}
            row |= {"alone_s": one / count, "packed_s": together / count, "gain": round(one / together, 3)}
            rows.append(row)
            print("update", json.dumps(row), flush=True)
    return rows


def compare_bytes(trainings: Sequence[Training], micro_batch: int) -> dict[str, Any]:
    """Gradients of the first update, alone and packed."""
    updates = [next(iter(t.schedule.updates())) for t in trainings]
    gradients = []
    for way in ("alone", "packed"):
        if way == "packed":
            Pack(trainings, micro_batch).backward(updates)
        else:
            for training, update in zip(trainings, updates, strict=True):
                prompts = [training._prompt(rows) for rows in update.prompts]
                draws = training.objective.draws(training.context, update)
                training.objective.backward(training.rows, prompts, update.prompts, draws, True)
        gradients.append([_taken(training.rows) for training in trainings])
    same = [torch.equal(a, b) for a, b in zip(*gradients, strict=True)]
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*gradients, strict=True))
    row = {"same_bits": sum(same), "pictures": len(same), "largest_relative_difference": apart}
    print("bytes", json.dumps(row), flush=True)
    return row


def _taken(rows: TokenRows) -> Tensor:
    found = []
    for vectors in rows.vectors.values():
        assert vectors.grad is not None
        found.append(vectors.grad.clone().flatten())
        vectors.grad = None
    return torch.cat(found)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--passes", default="1,2,3,4,6,8,12,16,24,32")
    parser.add_argument("--micro-batch", type=int, default=0, help="prompts per packed pass; 0: as a run chooses")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--wall", action="store_true", help="seconds of the clock on a CPU, too")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.wall or asked.device != "cpu":
        global CLOCK
        CLOCK = time.perf_counter
    torch.set_num_threads(asked.threads)
    run_options = Options(model=asked.model, device=asked.device, precision=asked.precision)
    manager = run_options.manager()
    backbone = backbone_for(manager, run_options.resolve(manager))
    trainings = make_trainings(backbone, asked.pictures, TrainingOptions(**NUMBERS))
    micro_batch = asked.micro_batch or trainings[0].micro_batch
    document = {
        "model": asked.model,
        "device": asked.device,
        "precision": asked.precision,
        "threads": asked.threads,
        "concepts": [t.rows.num_concepts for t in trainings],
        "bytes": compare_bytes(trainings, micro_batch),
        "passes": measure_passes(trainings[0], [int(text) for text in asked.passes.split(",")], asked.repeats),
        "updates": measure_updates(trainings, micro_batch, asked.repeats),
    }
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
