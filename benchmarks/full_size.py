"""Seconds and peak memory of the full-size Stable Diffusion architectures, with random weights.

    python benchmarks/full_size.py                      # SD 1.5 and SD 2.1-base, float32 and bfloat16
    python benchmarks/full_size.py --model sd15 --precision float32 --device cuda
    python benchmarks/full_size.py --model sdxl --precision bfloat16 --steps 1    # 12 GB of memory on a CPU

Weights are drawn at random from the published configurations that ship with the package, the vocabulary is CLIP's own:
what is measured is the work, not the result. Every case runs in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MODELS = ("sd15", "sd21-base", "sdxl")
USUAL = MODELS[:2]
PRECISIONS = ("float32", "bfloat16")


def write_model(kind: str, folder: Path) -> Path:
    """A diffusers folder with random half precision weights."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    from uce.plugins.backbones._sd.single_file import CONFIGS
    from uce.plugins.backbones._sd.vocabulary import clip_tokenizer
    from uce.plugins.backbones._sdxl.single_file import CONFIGS as XL_CONFIGS

    large = kind == "sdxl"
    source = XL_CONFIGS if large else CONFIGS / kind
    torch.manual_seed(0)
    # XL's 2.6 billion weights are drawn in bfloat16, the others' in float32: drawing is slower than the whole test else
    torch.set_default_dtype(torch.bfloat16 if large else torch.float32)
    half = torch.bfloat16 if large else torch.float16
    for name, cls in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        cls.from_config(cls.load_config(source / name)).to(half).save_pretrained(folder / name)
    texts = {"": CLIPTextModel, "_2": CLIPTextModelWithProjection} if large else {"": CLIPTextModel}
    for suffix, cls in texts.items():
        name = f"text_encoder{suffix}"
        cls(CLIPTextConfig.from_pretrained(source / name)).to(half).save_pretrained(folder / name)
        clip_tokenizer(source / f"tokenizer{suffix}").save_pretrained(folder / f"tokenizer{suffix}")
    scheduler = (source / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(scheduler, encoding="utf-8")
    pipeline = "StableDiffusionXLPipeline" if large else "StableDiffusionPipeline"
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}), encoding="utf-8")
    return folder


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
    print(f"  {name} {seconds[name]:.1f} s", file=sys.stderr, flush=True)


def measure(folder: Path, precision: str, device: str, steps: int) -> dict[str, Any]:
    """Load, localise and train so many steps; seconds by stage and peak memory in gigabytes."""
    seconds: dict[str, float] = {}
    with timed(seconds, "import torch"):
        import numpy as np
        import torch

    from uce.core import Context, StageInputError, UceError
    from uce.core.manager import load_manager
    from uce.core.picture import read_picture
    from uce.plugins.extractors.self_attention import SelfAttentionExtractor

    with timed(seconds, "load"):
        backbone = load_manager().pm.hook.uce_load_backbone(
            model=str(folder), settings=SimpleNamespace(), device=device, precision=precision
        )
    assert backbone is not None
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    picture = read_picture(noise, backbone.picture_side, "stretch")
    extractor = SelfAttentionExtractor()
    with timed(seconds, "extract"):
        context = Context(stage="extractor", device=device)
        attention = extractor.uce_extract_attention(backbone, picture, extractor.Settings(), context)
    with timed(seconds, "cluster and refine"):
        from uce.api import localize

        try:
            found = len(localize(attention, clusterer="finch", refiner=["saliency", "merge"]))
        except (StageInputError, UceError) as error:
            found = str(error)  # random weights may leave nothing salient
    seconds["updates"] = train(backbone, picture, attention, device, seconds, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    video = torch.cuda.max_memory_allocated() / 2**30 if device.startswith("cuda") else 0.0
    return {"seconds": seconds, "peak": peak, "video": video, "concepts": found}


def train(backbone: Any, picture: Any, attention: Any, device: str, seconds: dict[str, float], steps: int) -> float:
    """Steps of one concept (two updates each) on a hand-made mask: random weights give no masks worth learning."""
    import torch

    from uce.core import Concepts, Context
    from uce.plugins.initializers.random import RandomInitializer
    from uce.plugins.optimizers.masked_denoising import MaskedDenoisingOptimizer

    masks = torch.zeros(1, *attention.grid, dtype=torch.bool)
    masks[0, 8:40, 8:40] = True
    rows = attention.affinity[masks.flatten()].mean(dim=0, keepdim=True)
    concepts = Concepts(masks=masks, maps=rows.cpu(), scores=torch.ones(1))
    times = [time.perf_counter()]
    context = Context(
        stage="optimizer", device=device, micro_batch=1, emit=lambda event: times.append(time.perf_counter())
    )
    plan = RandomInitializer().uce_initialize_tokens(concepts=concepts, backbone=backbone, context=context)
    optimizer = MaskedDenoisingOptimizer()
    settings = optimizer.Settings(steps=steps, merge_step=0)
    optimizer.uce_optimize(plan, concepts, backbone, picture, settings, context)
    for number, (before, after) in enumerate(itertools.pairwise(times), start=1):
        seconds[f"update {number}"] = after - before
    return times[-1] - times[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--precision", choices=(*PRECISIONS, "float16"), action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder is not None:
        print(json.dumps(measure(args.folder, args.precision[0], args.device, args.steps)))
        return
    for kind in args.model or USUAL:
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, __file__, "--device", args.device, "--folder", scratch]
            command += ["--steps", str(args.steps)]
            writer = f"from full_size import *; write_model({kind!r}, Path({scratch!r}))"
            subprocess.run([sys.executable, "-c", writer], check=True, cwd=Path(__file__).parent)
            for precision in args.precision or PRECISIONS:
                done = subprocess.run(
                    [*command, "--precision", precision], check=True, stdout=subprocess.PIPE, text=True
                )
                result = json.loads(done.stdout.splitlines()[-1])
                stages = ", ".join(f"{name} {value:.1f} s" for name, value in result["seconds"].items())
                video = f", {result['video']:.1f} GB on the GPU" if result["video"] else ""
                print(
                    f"{kind} {precision}: {stages}; peak {result['peak']:.1f} GB{video}; {result['concepts']} concepts"
                )


if __name__ == "__main__":
    main()
