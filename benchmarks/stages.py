"""Seconds, peak memory and FLOPs of every stage and of a training update, on real architectures with random weights.

    python benchmarks/stages.py --quick                   # mini alone, in under a minute on an idle machine
    python benchmarks/stages.py --write                   # mini, SD 1.5 and SD 2.1-base; float32 and bfloat16
    python benchmarks/stages.py --model sdxl --precision bfloat16 --repeats 1       # 12 GB of memory on a CPU
    python benchmarks/stages.py --model sd21-base --device cuda --precision bfloat16 --batch 1 --batch 16

Every case runs in a process of its own. A figure is the median of the repeats after one that warms up, with the lowest
and the highest; peak memory is that of the process (on CUDA: of the device) while the stage ran, model included. An
update of B prompts is one UNet pass forward and backward, the alignment by KL (the preset `default`), and AdamW.

FLOPs are those of the UNet and the text encoder, forward and activation backward, counted with
`torch.utils.flop_counter` under the MATH attention backend (fused attention counts as nothing on a CPU) on tensors
without memory. Utilisation is FLOPs over seconds, over what a large matrix product reaches in the same process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from architectures import MODELS, write_model
from measuring import (
    machine,
    machine_line,
    markdown,
    peak_since,
    run_child,
    shown,
    spread,
    start_peak,
    write_results,
)

USUAL = ("mini", *MODELS[:2])
PRECISIONS = ("float32", "bfloat16")
MATRIX = {"cpu": 2048, "cuda": 8192}


class Recorder:
    """Seconds and peak memory by stage."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = {}
        self.memory: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, keep: bool = True) -> Iterator[None]:
        """Measure the block; without `keep` it only warms up."""
        start_peak(self.device)
        begun = time.perf_counter()
        yield
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()
        passed = time.perf_counter() - begun
        print(f"  {name} {passed:.2f} s", file=sys.stderr, flush=True)
        if keep:
            self.seconds.setdefault(name, []).append(passed)
            self.memory[name] = max(self.memory.get(name, 0.0), peak_since(self.device))


def measure(
    folder: str, precision: str, device: str, batches: Sequence[int], repeats: int, compiled: str
) -> dict[str, Any]:
    """All stages of one model; runs in a process of its own."""
    recorder = Recorder(device)
    with recorder.stage("import torch"):
        import torch

    from uce.core import Context
    from uce.core.registry.manager import load_manager
    from uce.plugins.extractors.self_attention import SelfAttentionExtractor

    with recorder.stage("load"):
        backbone = load_manager().pm.hook.uce_load_backbone(
            model=folder, settings=SimpleNamespace(compile=compiled), device=device, precision=precision
        )
    picture, extractor = noise_picture(backbone), SelfAttentionExtractor()
    for number in range(repeats + 1):
        with recorder.stage("encode picture", number > 0):
            backbone.encode_image(picture.pixels[None])
    for number in range(repeats + 1):
        context = Context(stage="extractor", device=device)
        with recorder.stage("extract", number > 0):
            attention = extractor.uce_extract_attention(backbone, picture, extractor.Settings(), context)
    for number in range(repeats + 1):
        localise(attention, recorder, number > 0)
    updates = {}
    for batch in batches:
        train(backbone, picture, attention, recorder, batch, repeats)
        updates[str(batch)] = count_flops(backbone, batch)
    return {
        "seconds": recorder.seconds, "memory": recorder.memory, "flops": updates, "grid": attention.grid,
        "peak_flops": matrix_flops(device, precision), "threads": torch.get_num_threads(),
    }  # fmt: skip


def noise_picture(backbone: Any) -> Any:
    import numpy as np

    from uce.core.flow.picture import read_picture

    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return read_picture(noise, backbone.picture_side, "stretch")


def localise(attention: Any, recorder: Recorder, keep: bool) -> None:
    """Stages two and three by the paper's plugins; random weights may leave nothing salient."""
    from uce.core import UceError
    from uce.core.localisation.candidates import candidate_concepts
    from uce.plugins.clusterers.finch import FinchClusterer
    from uce.plugins.refiners.merge import MergeRefiner

    clusterer, refiner = FinchClusterer(), MergeRefiner()
    with recorder.stage("cluster", keep):
        clusters = clusterer.uce_cluster(attention, clusterer.Settings())
    with recorder.stage("refine", keep):
        try:
            refiner.uce_refine_masks(candidate_concepts(attention, clusters), attention, refiner.Settings())
        except UceError as error:
            print(f"  {error}", file=sys.stderr)


def train(backbone: Any, picture: Any, attention: Any, recorder: Recorder, batch: int, repeats: int) -> None:
    """Updates of `batch` prompts each on hand-made masks: random weights give none worth learning."""
    import torch

    from uce.core import Concepts, Context
    from uce.core.flow.data import TokenPlan
    from uce.core.training.loop import train as learn
    from uce.core.training.options import TrainingOptions
    from uce.core.training.starts import concept_tokens, random_starts

    num = max(1, batch - 1)  # after the merge every concept has a prompt, and all together one more
    rows = attention.affinity.shape[0]
    cells = torch.arange(rows) * num // rows
    masks = (cells[None] == torch.arange(num)[:, None]).reshape(num, *attention.grid)
    maps = masks.flatten(1).float() + 0.1
    concepts = Concepts(masks=masks, maps=maps / maps.sum(dim=1, keepdim=True), scores=torch.ones(num))
    name, begun = f"update of {batch}", [time.perf_counter()]

    def note(event: Any) -> None:
        if recorder.device.startswith("cuda"):
            torch.cuda.synchronize()
        now = time.perf_counter()
        print(f"  {name} {now - begun[-1]:.2f} s", file=sys.stderr, flush=True)
        kept = name if event.update > 1 else f"first {name}"  # the first has all that is done once, compiling too
        recorder.seconds.setdefault(kept, []).append(now - begun[-1])
        begun.append(time.perf_counter())

    context = Context(stage="optimizer", device=recorder.device, micro_batch=batch, emit=note)
    plan = TokenPlan(concept_tokens(num), random_starts(backbone, num, 1, context))
    start_peak(recorder.device)
    learn(
        plan, concepts, backbone, picture,
        TrainingOptions(steps=repeats + 1, merge_step=0, schedule="batched", alignment="kl"), context,
    )  # fmt: skip
    recorder.memory[name] = peak_since(recorder.device)


def count_flops(backbone: Any, batch: int) -> float:
    """FLOPs of the UNet and the text encoders for one update of `batch` prompts."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    side, channels = backbone.latent_side, backbone.latent_channels
    with torch.device("meta"):
        unet = type(backbone.unet).from_config(backbone.unet.config).requires_grad_(False)
        noisy, timesteps = torch.empty(batch, channels, side, side), torch.empty(batch, dtype=torch.int64)
        states = torch.empty(batch, 77, unet.config.cross_attention_dim, requires_grad=True)
        added = {}
        if unet.config.addition_embed_type == "text_time":
            added = {"text_embeds": torch.empty(batch, 1280), "time_ids": torch.empty(batch, 6)}
    prompt = backbone.tokenize("a photo of <a>", {"<a>": 0})
    vectors = {name: backbone.embedding_table(name)[:1].float().clone() for name in backbone.encoders}
    for vector in vectors.values():
        vector.requires_grad_()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as text:
        backbone.encode_prompts([prompt], vectors).states.float().mean().backward()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as image:
        output = unet(
            noisy, timesteps, encoder_hidden_states=states, added_cond_kwargs=added or None, return_dict=False
        )[0]
        output.mean().backward()
    return float(image.get_total_flops() + batch * text.get_total_flops())


def matrix_flops(device: str, precision: str) -> float:
    """FLOPs per second of a large matrix product: the best of ten."""
    import torch

    size = MATRIX["cuda" if device.startswith("cuda") else "cpu"]
    left, right = (torch.randn(size, size, device=device).to(getattr(torch, precision)) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        begun = time.perf_counter()
        left @ right
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


def report(document: dict[str, Any]) -> str:
    """Two tables: stages, and updates with their utilisation."""
    stages, updates = [], []
    for case in document["cases"]:
        seconds, memory = case["seconds"], case["memory"]
        label = [case["model"], case["precision"], str(case["threads"])]
        cells = [
            f"{shown(spread(seconds[name]))}; {memory[name]:.1f}"
            for name in ("load", "encode picture", "extract", "cluster", "refine")
        ]
        stages.append([*label, "x".join(map(str, case["grid"])), *cells])
        for batch, flops in case["flops"].items():
            times = spread(seconds[f"update of {batch}"])
            rate = flops / times["median"]
            first = seconds[f"first update of {batch}"][0]
            updates.append(
                [*label, batch, f"{first:.1f}", shown(times), f"{memory[f'update of {batch}']:.1f}",
                 f"{flops / 1e12:.3f}", f"{rate / 1e9:.0f}", f"{case['peak_flops'] / 1e9:.0f}",
                 f"{100 * rate / case['peak_flops']:.0f}%"]
            )  # fmt: skip
    label = ["model", "precision", "threads"]
    table = markdown([*label, "grid", "load", "encode picture", "extract", "cluster", "refine"], stages)
    head = [*label, "prompts", "first, s", "update, s", "peak, GB", "TFLOP", "GFLOP/s", "peak GFLOP/s", "utilisation"]
    text = "Seconds: median (lowest to highest); after the semicolon peak memory in GB."
    return f"{machine_line(document['machine'])}\n\n{text}\n\n{table}\n\n{markdown(head, updates)}"


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("mini", *MODELS), action="append", help=f"default: {', '.join(USUAL)}")
    parser.add_argument("--precision", choices=(*PRECISIONS, "float16"), action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--batch", type=int, action="append", help="prompts of an update: 1, or from 3 up; default: 1, 4"
    )
    parser.add_argument("--compile", default="off", help="model.compile: default, reduce-overhead or max-autotune")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; default: torch's choice")
    parser.add_argument("--quick", action="store_true", help="mini in float32, one repeat")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    batches = given.batch or [1, 4]
    if 2 in batches:
        parser.error("--batch 2 is not possible: two concepts make three prompts; give 1, or 3 and more")
    if given.child:
        print(json.dumps(measure(given.child, given.precision[0], given.device, batches, given.repeats, given.compile)))
        return
    models = given.model or (("mini",) if given.quick else USUAL)
    precisions = given.precision or (PRECISIONS[:1] if given.quick else PRECISIONS)
    repeats = 1 if given.quick else given.repeats
    own = ["--device", given.device, "--compile", given.compile, "--repeats", str(repeats)]
    own += [word for batch in batches for word in ("--batch", str(batch))]
    document: dict[str, Any] = {"machine": machine(given.device), "device": given.device, "cases": []}
    for kind in models:
        with tempfile.TemporaryDirectory() as scratch:
            model = "mini" if kind == "mini" else str(write_model(kind, Path(scratch)))
            for precision in precisions:
                print(f"{kind} {precision}", file=sys.stderr, flush=True)
                found = run_child(__file__, [*own, "--precision", precision, "--child", model], given.threads)
                document["cases"].append({"model": kind, "precision": precision, **found})
    text = report(document)
    print(text)
    if given.json:
        given.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if given.write:
        write_results("stages", document, text)


if __name__ == "__main__":
    main()
