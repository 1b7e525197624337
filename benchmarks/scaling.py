"""How time grows: with concepts, the picture's side, the grid's side and the number of pictures. A plot for each.

    python benchmarks/scaling.py --quick
    python benchmarks/scaling.py --write                  # tables into README.md, plots into benchmarks/plots
    python benchmarks/scaling.py --curve grid --curve concepts

- concepts: seconds of a training step of `mini` with 1 to 16 concepts, before and after the merge (preset `default`).
- picture: seconds of `uce.localize` on pictures of 64 to 2048 pixels a side, `mini`, preset `default`.
- grid: seconds and peak memory of clustering and post-clustering (the paper's plugins) on made affinities of 16 x 16
  to 128 x 128 cells, each in a process of its own: what follows the UNet pass.
- pictures: seconds of `uce.batch` with 1 to 16 pictures, localisation only; the first pays for loading.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import README, machine, machine_line, markdown, peak_memory, run_child, shown, spread, write_results

CONCEPTS, PICTURES = (1, 2, 4, 8, 16), (1, 2, 4, 8, 16)
PICTURE_SIDES, GRID_SIDES = (64, 128, 256, 512, 1024, 2048), (16, 32, 48, 64, 96, 128)
PLOTS = README.parent / "plots"
Row = dict[str, Any]


def made_affinity(side: int) -> Any:
    """Attention maps with 7 rectangles on a background: cells look at near cells of their own part most."""
    import torch

    from uce.core import AttentionMaps

    generator = torch.Generator().manual_seed(0)
    parts = torch.zeros(side, side, dtype=torch.int64)
    for part in range(1, 8):
        top, left = (int(x) for x in torch.randint(0, side * 3 // 4, (2,), generator=generator))
        parts[top : top + side // 4, left : left + side // 4] = part
    place = torch.linspace(0, 1, side)
    near = torch.exp(-((place[:, None] - place[None]) ** 2) / 0.08)
    affinity = torch.empty(side * side, side * side)
    for row in range(side):  # block by block, so that memory is the affinity's own
        block = slice(row * side, (row + 1) * side)
        affinity[block] = torch.einsum("y,xz->xyz", near[row], near).flatten(1)
        affinity[block].mul_(torch.where(parts.flatten()[None] == parts[row][:, None], 1.0, 0.1))
        affinity[block].mul_(torch.rand(side, side * side, generator=generator).mul_(0.2).add_(0.9))
    affinity.div_(affinity.sum(dim=1, keepdim=True))
    return AttentionMaps(affinity=affinity, saliency=(parts > 0).float())


def grid_child(side: int, repeats: int) -> Row:
    """Clustering and post-clustering of one grid."""
    from uce.api import localize

    attention = made_affinity(side)
    before, seconds, cpu = peak_memory(), [], []
    found = 0
    for _ in range(repeats):
        begun = time.perf_counter(), time.process_time()
        found = len(localize(attention, clusterer="finch", refiner=["saliency", "merge"]))
        seconds.append(time.perf_counter() - begun[0])
        cpu.append(time.process_time() - begun[1])
    return {
        "x": side, "seconds": spread(seconds), "cpu": spread(cpu), "peak": peak_memory(), "before": before,
        "concepts": found,
    }  # fmt: skip


def curve_grid(quick: bool) -> list[Row]:
    rows = []
    for side in GRID_SIDES[:3] if quick else GRID_SIDES:
        repeats = 1 if quick or side > 64 else 3
        rows.append(run_child(__file__, ["--child", str(side), "--repeats", str(repeats)]))
    return rows


def curve_concepts(quick: bool) -> list[Row]:
    """Seconds of a step, split and merged apart."""
    import torch

    from uce.core import Concepts, Context
    from uce.core.config.presets import DEFAULT
    from uce.core.flow.data import TokenPlan
    from uce.core.flow.picture import read_picture
    from uce.core.registry.manager import load_manager
    from uce.core.training.starts import concept_tokens, random_starts
    from uce.plugins.optimizers.masked_denoising import MaskedDenoisingOptimizer

    backbone = load_manager().pm.hook.uce_load_backbone(model="mini", settings=None, device="cpu", precision="float32")
    picture, side = read_picture(made_picture(backbone.picture_side), backbone.picture_side), backbone.latent_side
    chosen = {key: value for key, value in DEFAULT["optimizer"].items() if key != "plugin"}
    settings = MaskedDenoisingOptimizer.Settings(**chosen | {"steps": 8, "merge_step": 4})
    rows = []
    for num in CONCEPTS[:3] if quick else CONCEPTS:
        cells = torch.arange(side * side) * num // side**2
        masks = (cells[None] == torch.arange(num)[:, None]).reshape(num, side, side)
        maps = masks.flatten(1).float() + 0.1
        concepts = Concepts(masks=masks, maps=maps / maps.sum(dim=1, keepdim=True), scores=torch.ones(num))
        times: list[tuple[str, float]] = []
        context = Context(stage="optimizer", emit=lambda event, times=times: times.append(step_time(event)))
        plan = TokenPlan(concept_tokens(num), random_starts(backbone, num, 5, context))
        MaskedDenoisingOptimizer().uce_optimize(plan, concepts, backbone, picture, settings, context)
        passed = [(now[0], now[1] - before[1]) for before, now in itertools.pairwise(times)]
        rows.append(
            {"x": num} | {phase: spread([s for name, s in passed if name == phase]) for phase in ("split", "merged")}
        )
    return rows


def step_time(event: Any) -> tuple[str, float]:
    return event.phase, time.perf_counter()


def made_picture(side: int, seed: int = 0) -> Any:
    """Three discs on a plain ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    picture = np.full((side, side, 3), rng.integers(150, 220, 3), np.uint8)
    for place in ((0.25, 0.3), (0.7, 0.3), (0.5, 0.75)):
        disc = (y - place[0]) ** 2 + (x - place[1]) ** 2 < 0.18**2
        picture[disc] = rng.integers(0, 120, 3)
    return picture


def curve_picture(quick: bool) -> list[Row]:
    """Seconds of localisation after one that warms up."""
    import uce

    uce.localize(made_picture(64), model="mini")
    rows = []
    for side in PICTURE_SIDES[:3] if quick else PICTURE_SIDES:
        seconds = []
        for repeat in range(1 if quick else 3):
            picture, begun = made_picture(side, repeat), time.perf_counter()
            uce.localize(picture, model="mini")
            seconds.append(time.perf_counter() - begun)
        rows.append({"x": side, "seconds": spread(seconds)})
    return rows


def curve_pictures(quick: bool) -> list[Row]:
    """Seconds of a batch; what the first picture alone costs is loading the model."""
    from PIL import Image

    import uce
    from uce.core.work.models import forget_backbone

    rows = []
    for count in PICTURES[:3] if quick else PICTURES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "pictures"
            folder.mkdir()
            for index in range(count):
                Image.fromarray(made_picture(256, index)).save(folder / f"{index:02}.png")
            forget_backbone()
            begun = time.perf_counter()
            uce.batch(folder, Path(scratch) / "out", localize_only=True, model="mini")
            rows.append({"x": count, "seconds": spread([time.perf_counter() - begun])})
    return rows


CURVES: dict[str, tuple[Callable[[bool], list[Row]], str, Sequence[str]]] = {
    "concepts": (curve_concepts, "concepts", ("split", "merged")),
    "picture": (curve_picture, "picture side, pixels", ("seconds",)),
    "grid": (curve_grid, "grid side, cells", ("seconds", "cpu")),
    "pictures": (curve_pictures, "pictures", ("seconds",)),
}


def plot(name: str, rows: list[Row], folder: Path) -> None:
    """Seconds over what grows, both logarithmic, with low and high as bars; a small PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullLocator

    _, label, series = CURVES[name]
    xs = [row["x"] for row in rows]
    figure, axes = pyplot.subplots(figsize=(4.2, 3.0), dpi=100, layout="constrained")
    for key in series:
        middle = np.array([row[key]["median"] for row in rows])
        low, high = (np.array([row[key][end] for row in rows]) for end in ("low", "high"))
        axes.errorbar(xs, middle, [middle - low, high - middle], marker="o", capsize=3, label=SERIES[key])
    if name == "grid":
        cubic = [rows[-1]["seconds"]["median"] * (x / xs[-1]) ** 6 for x in xs]
        axes.plot(xs, cubic, "k:", label="cubic in cells")
        second = axes.twinx()
        second.plot(xs, [row["peak"] for row in rows], "s--", color="tab:red")
        second.set_ylabel("peak memory, GB", color="tab:red")
        second.set_ylim(bottom=0)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds")
    axes.set_xticks(xs, [str(x) for x in xs])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    if len(series) > 1 or name == "grid":
        axes.legend(fontsize=8, loc="lower right")
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.png")
    pyplot.close(figure)


SERIES = {
    "split": "step before the merge", "merged": "step after the merge", "seconds": "wall clock",
    "cpu": "CPU, all threads",
}  # fmt: skip


def report(document: dict[str, Any]) -> str:
    """A table per curve with its plot."""
    parts = [machine_line(document["machine"]), "Seconds: median (lowest to highest)."]
    for name, rows in document["curves"].items():
        _, label, series = CURVES[name]
        memory = ["peak, GB"] if name == "grid" else []
        lines = [
            [str(row["x"]), *(shown(row[key]) for key in series), *([f"{row['peak']:.2f}"] if memory else [])]
            for row in rows
        ]
        parts += [markdown([label, *(SERIES[key] for key in series), *memory], lines), f"![{label}](plots/{name}.png)"]
    return "\n\n".join(parts)


def main() -> None:
    """Parse the command line, measure, plot, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curve", choices=list(CURVES), action="append", help="default: all")
    parser.add_argument("--quick", action="store_true", help="three points of each curve, no repeats")
    parser.add_argument("--write", action="store_true", help="put tables into benchmarks/README.md, plots beside it")
    parser.add_argument("--plots", type=Path, help="write the plots into this folder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(grid_child(given.child, given.repeats)))
        return
    document: dict[str, Any] = {"machine": machine(), "curves": {}}
    for name in given.curve or CURVES:
        print(name, file=sys.stderr, flush=True)
        document["curves"][name] = CURVES[name][0](given.quick)
        if given.write or given.plots:
            plot(name, document["curves"][name], given.plots or PLOTS)
    text = report(document)
    print(text)
    if given.json:
        given.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if given.write:
        write_results("scaling", document, text)


if __name__ == "__main__":
    main()
