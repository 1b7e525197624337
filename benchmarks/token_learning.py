"""How well, and how fast, tokens learn: the masked denoising error on fixed timesteps and noise after training.

    python benchmarks/token_learning.py --model mini --objects FOLDER --scenes 4 \
        paper:steps=20,merge_step=4 \
        batched:schedule=batched,learning_rate=1e-2,steps=60,merge_step=10,initializer=word-search,split_tokens=1

Every argument NAME:KEY=VALUE,... is one training: keys of the optimizer, or of the initializer where it has them;
`initializer` and `optimizer` name the plugins.
Scenes are composed from held-out validation objects (FOLDER holds the pictures of `@lobehub/fluent-emoji-3d`); masks
are the truth on the model's grid, so that learning is measured alone. Prints one line per training, and writes JSON
with `--json`: error (lower is better; "none" is the error of the prompt without any token), prompts (UNet passes
forward and backward), seconds of CPU and wall.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uce.core import Concepts, Context
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.backbones.stable_diffusion import StableDiffusionBackbonePlugin
from uce.plugins.initializers.nearest_words import NearestWordsInitializer
from uce.plugins.initializers.random import RandomInitializer
from uce.plugins.initializers.split_merge import SplitMergeInitializer
from uce.plugins.initializers.word_search import WordSearchInitializer
from uce.plugins.initializers.words import WordsInitializer
from uce.plugins.optimizers.masked_denoising import MaskedDenoisingOptimizer
from uce.plugins.optimizers.textual_inversion import TextualInversionOptimizer
from uce.scenes.composing import compose
from uce.scenes.objects import list_objects, load_object
from uce.scenes.things import Thing, make_loader

INITIALIZERS: dict[str, Any] = {
    plugin.name: plugin
    for plugin in (
        SplitMergeInitializer,
        RandomInitializer,
        WordSearchInitializer,
        WordsInitializer,
        NearestWordsInitializer,
    )
}
OPTIMIZERS: dict[str, Any] = {p.name: p for p in (MaskedDenoisingOptimizer, TextualInversionOptimizer)}


@dataclass(frozen=True)
class Case:
    """One scene with its true masks."""

    picture: Picture
    concepts: Concepts


def make_case(index: int, objects: Path, side: int, grid: int) -> Case:
    """Two or three validation objects; maps are the masks, blurred."""
    rng = np.random.default_rng(1000 + index)
    stems = rng.choice(list_objects(objects, "validation"), (2, 3)[index % 2], replace=False)
    loader = make_loader(lambda stem: load_object(objects, stem))
    scene = compose([Thing(str(stem), 0) for stem in stems], loader, 7, index)
    truth = torch.from_numpy(np.asarray(scene.masks)).float()[None]
    masks = torch.nn.functional.adaptive_avg_pool2d(truth, (grid, grid))[0] >= 0.5
    maps = torch.nn.functional.avg_pool2d(masks.float()[:, None], 3, 1, 1)[:, 0].flatten(1) + 0.01
    maps = maps / maps.sum(dim=1, keepdim=True)
    concepts = Concepts(masks=masks, maps=maps, scores=torch.ones(len(masks)))
    return Case(read_picture(Image.fromarray(scene.picture), side=side), concepts)


@torch.no_grad()
def masked_error(backbone: Any, case: Case, vectors: Tensor | None, levels: int = 12) -> Tensor:
    """Squared error inside each concept's mask, mean over `levels` timesteps with two noises each: (K,)."""
    latent = backbone.encode_image(case.picture.pixels[None])
    timesteps = torch.linspace(20, 980, levels).long().repeat(2)
    noise = torch.randn(len(timesteps), *latent.shape[1:], generator=torch.Generator().manual_seed(5))
    x_0 = latent.expand(len(timesteps), -1, -1, -1)
    noisy, target = backbone.add_noise(x_0, noise, timesteps), backbone.target(x_0, noise, timesteps)
    errors = []
    for k, mask in enumerate(case.concepts.masks):
        prompt = backbone.tokenize("a photo of" if vectors is None else "a photo of <a>", {"<a>": k})
        states = backbone.encode_prompts([prompt] * len(timesteps), None if vectors is None else {"clip": vectors})
        error = (backbone.predict(noisy, timesteps, states) - target).square().mean(dim=1)
        errors.append(error[:, mask].mean())
    return torch.stack(errors)


def measure(backbone: Any, cases: list[Case], text: str) -> dict[str, Any]:
    """Train on every scene as `text` says."""
    name, _, pairs = text.partition(":")
    given = dict(pair.split("=", 1) for pair in pairs.split(",") if pair)
    initializer = INITIALIZERS[given.pop("initializer", "split-merge")]
    optimizer = OPTIMIZERS[given.pop("optimizer", "masked-denoising")]
    own = {key: given.pop(key) for key in list(given) if key in initializer.Settings.model_fields}
    starting, settings = initializer.Settings(**own), optimizer.Settings(**given)
    errors, started, prompts, cpu, wall = [], [], 0, 0.0, 0.0
    for i, case in enumerate(cases):
        before = time.process_time(), time.time()
        kinds = {"concepts": case.concepts, "backbone": backbone, "image": case.picture, "settings": starting}
        kinds["context"] = Context(seed=i, stage="initializer")
        hook = initializer().uce_initialize_tokens
        plan = hook(**{key: kinds[key] for key in hook.__code__.co_varnames[1 : hook.__code__.co_argcount]})
        context = Context(seed=i, stage="optimizer")
        learned = optimizer().uce_optimize(plan, case.concepts, backbone, case.picture, settings, context)
        cpu, wall = cpu + time.process_time() - before[0], wall + time.time() - before[1]
        prompts += num_prompts(settings, plan.num_splits, len(case.concepts))
        errors.append(masked_error(backbone, case, learned.embeddings["clip"][:, 0]))
        started.append(masked_error(backbone, case, plan.starts["clip"].mean(dim=1)))
    count = len(cases)
    return {
        "name": name,
        "error": round(float(torch.cat(errors).mean()), 4),
        "start": round(float(torch.cat(started).mean()), 4),
        "prompts": round(prompts / count, 1),
        "cpu_s": round(cpu / count, 2),
        "wall_s": round(wall / count, 2),
        "norm": round(float(learned.embeddings["clip"].norm(dim=-1).mean()), 2),
    }


def num_prompts(settings: Any, num_splits: int, num_concepts: int) -> int:
    """Prompts that a training sees."""
    if hasattr(settings, "batch"):
        return int(settings.steps * settings.batch * num_concepts)
    split = min(settings.merge_step, settings.steps) if num_splits > 1 else 0
    return int(split * num_splits * num_concepts + (settings.steps - split) * (num_concepts + 1))


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainings", nargs="+")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--objects", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone: Any = StableDiffusionBackbonePlugin().uce_load_backbone(options.model, None, "cpu", "float32")
    cases = [make_case(i, options.objects, backbone.picture_side, backbone.latent_side) for i in range(options.scenes)]
    none = torch.cat([masked_error(backbone, case, None) for case in cases]).mean()
    print(f"none {float(none):.4f}", flush=True)
    rows = []
    for text in options.trainings:
        rows.append(measure(backbone, cases, text))
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"model": options.model, "none": float(none), "trainings": rows}, indent=2))


if __name__ == "__main__":
    main()
