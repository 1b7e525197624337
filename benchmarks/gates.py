"""What CI holds the default to: quality on six fixed scenes, and how much work it takes.

    python benchmarks/gates.py             compares with results/gates.json; exit code 1 where it moved
    python benchmarks/gates.py --write     writes that file: in the commit that changes a default on purpose

The scenes ship with uce (`uce/benchmarking/scenes/validation`), the model is `mini`, everything is seeded. Quality
may move within a band, since sums differ a little from processor to processor; work is counted, and has to be equal.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

import uce
from uce.core.model import attention
from uce.core.work.models import forget_backbone
from uce.plugins.backbones._sd.backbone import StableDiffusionBackbone
from uce.truth.reading import read_truth
from uce.truth.scoring import score_masks

RESULTS = Path(__file__).parent / "results" / "gates.json"
SCENES = ("single-0", "pair-0", "three-0", "overlap-0", "twice-0", "textured-0")
LEARNED, STEPS = "pair-0", 6
IOU_BAND, COUNT_BAND, LOSS_BAND = 0.02, 1, 0.03
"""How far figures may move: IoU of one scene, things found in all, and the share of a loss."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Pictures encoded, prompts passed through the UNet (with gradient, without) and attention maps kept meanwhile."""
    work: Counter[str] = Counter()
    encode, predict = StableDiffusionBackbone.encode_image, StableDiffusionBackbone.predict
    probabilities = attention.attention_probabilities

    def encode_image(face: Any, pixels: Any) -> Any:
        work["encodes"] += len(pixels)
        return encode(face, pixels)

    def noted_predict(face: Any, noisy: Any, timesteps: Any, states: Any) -> Any:
        work["passes that learn" if states.states.requires_grad else "passes"] += len(noisy)
        return predict(face, noisy, timesteps, states)

    def noted_probabilities(*args: Any, **kwargs: Any) -> Any:
        work["maps"] += 1
        return probabilities(*args, **kwargs)

    with (
        patch.object(StableDiffusionBackbone, "encode_image", encode_image),
        patch.object(StableDiffusionBackbone, "predict", noted_predict),
        patch.object(attention, "attention_probabilities", noted_probabilities),
    ):
        yield work


def measure() -> dict[str, Any]:
    """Localise every scene, learn a little on one: {"scenes": ..., "learned": ...}."""
    folder = Path(str(files("uce.benchmarking") / "scenes" / "validation"))
    forget_backbone()  # whoever loaded a model before may have changed what is encoded already
    scenes: dict[str, Any] = {}
    for name in SCENES:
        with counted() as work:
            found = np.asarray(uce.localize(folder / f"{name}.png", model="mini", device="cpu").pixel_masks)
        with Image.open(folder / f"{name}.png") as picture:
            truth = read_truth(folder / "truth", name, (picture.height, picture.width))
        iou = round(score_masks(found, truth).iou, 4)
        scenes[name] = {"iou": iou, "found": len(found), "things": len(truth), "work": dict(work)}
    with tempfile.TemporaryDirectory() as out, counted() as work:
        options = {"optimizer.steps": STEPS, "optimizer.merge_step": 2, "run.samples": 0}
        run = uce.run(folder / f"{LEARNED}.png", Path(out) / "run", model="mini", device="cpu", seed=0, set=options)
        rows = (run.path / "history.csv").read_text(encoding="utf-8").splitlines()
        losses = [float(row.split(",")[rows[0].split(",").index("masked_mse")]) for row in rows[1:]]
    learned = {"scene": LEARNED, "updates": len(losses), "loss": round(float(np.mean(losses)), 4), "work": dict(work)}
    return {"scenes": scenes, "learned": learned}


def moved(now: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """What lies outside its band, one line each."""
    lines = []
    for name, was in committed["scenes"].items():
        row = now["scenes"][name]
        if abs(row["iou"] - was["iou"]) > IOU_BAND:
            lines.append(f"{name}: IoU {row['iou']}, was {was['iou']}")
        if row["work"] != was["work"]:
            lines.append(f"{name}: work {row['work']}, was {was['work']}")
    counts = [sum(row["found"] for row in some["scenes"].values()) for some in (now, committed)]
    if abs(counts[0] - counts[1]) > COUNT_BAND:
        lines.append(f"things found in all scenes: {counts[0]}, were {counts[1]}")
    row, was = now["learned"], committed["learned"]
    if abs(row["loss"] / was["loss"] - 1) > LOSS_BAND:
        lines.append(f"loss of learning: {row['loss']}, was {was['loss']}")
    lines += [f"{key} of learning: {row[key]}, was {was[key]}" for key in ("updates", "work") if row[key] != was[key]]
    return lines


def main() -> None:
    """Measure, then compare or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep what is measured as what CI asks for")
    options = parser.parse_args()
    now = measure()
    if options.write:
        RESULTS.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return
    lines = moved(now, json.loads(RESULTS.read_text(encoding="utf-8")))
    print("\n".join(lines) or "nothing moved")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
