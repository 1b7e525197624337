"""The recipe of `mini-dit`: it computes what the pipeline does, resumes exactly, and uce works with its export."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline

import uce
from recipes.mini.shards import MOST, SIZE, Shard, shard_path
from recipes.mini.trainer import run
from recipes.mini.warm import prepare_work
from recipes.mini_dit.attention import attach
from recipes.mini_dit.model import SILENT, make_scheduler, make_transformer, shares_of_noise
from recipes.mini_dit.train import DitTrainer, parse
from uce.core import Capture, capture_joint_attention
from uce.scenes.names import NAMES
from uce.scenes.things import VARIANTS

STEMS = list(NAMES)[:4]
PARTS = 176  # of the committed appearance network


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with one shard of four objects; their pictures are not looked at."""
    folder = tmp_path_factory.mktemp("mini_dit")
    (folder / "objects").mkdir()
    for stem in STEMS:
        (folder / "objects" / f"{stem}.webp").touch()
    prepare_work(folder / "work")
    rng = np.random.default_rng(0)
    np.save(folder / "work" / "appearance.npy", rng.normal(size=(4, len(VARIANTS), PARTS)).astype(np.float32))
    stems = np.full((SIZE, MOST), -1, np.int16)
    stems[:, :2] = rng.integers(0, 4, (SIZE, 2))
    shard = Shard(
        latents=rng.normal(size=(SIZE, 16, 16, 16)).astype(np.float16),
        labels=rng.integers(0, 3, (SIZE, 16, 16)).astype(np.uint8),
        stems=stems,
        variants=np.zeros((SIZE, MOST), np.int8),
        backgrounds=np.zeros(SIZE, np.int8),
    )
    (folder / "work" / "shards").mkdir()
    for number in range(4):
        path = shard_path(folder / "work", 3, number)
        np.savez(path, **{name: getattr(shard, name) for name in Shard.__dataclass_fields__})
    return folder


def trainer(source: Path, work: Path, steps: int, *more: str) -> DitTrainer:
    if not work.exists():
        shutil.copytree(source / "work", work)
    given = f"--objects {source}/objects --work {work} --seed 3 --batch 4 --grounded 2 --layers 2 --heads 2 --float32"
    options = parse([*given.split(), "--steps", str(steps), "--shards", "4", "--several", "1", *more])
    options.scale = AutoencoderKL.load_config(work / "vae")["scaling_factor"]
    options.steps = 4  # the whole length, which the rate follows, whenever this part ends
    made = DitTrainer(options)
    made.options.steps = steps
    return made


@pytest.fixture(scope="module")
def trained(source: Path) -> DitTrainer:
    """Four updates without a break."""
    made = trainer(source, source / "whole", 4)
    run(made)
    return made


def test_interrupted_and_continued_training_gives_the_same_weights(source: Path, trained: DitTrainer) -> None:
    run(trainer(source, source / "parts", 2))
    going_on = trainer(source, source / "parts", 4, "--loaders", "1")
    assert going_on.step == 2
    run(going_on)
    for whole, parts in ((trained.model, going_on.model), (trained.average, going_on.average)):
        other = parts.state_dict()
        for name, weight in whole.state_dict().items():
            assert torch.equal(weight, other[name]), name


def test_every_part_learns(source: Path, trained: DitTrainer) -> None:
    fresh = trainer(source, source / "fresh", 4)
    before = dict(fresh.model.named_parameters())
    for part in ("transformer", "text", "text_2", "appearance", "narrow"):
        moved = [name for name, weight in trained.model.named_parameters() if name.startswith(f"{part}.")]
        assert any(not torch.equal(before[name], trained.model.get_parameter(name)) for name in moved), part


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_silent_position_is_what_the_pipeline_computes_of_256(compiled: bool) -> None:
    torch.manual_seed(0)
    model = make_transformer(3, 2)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    cells, text, summary = torch.randn(2, 16, 16, 16), torch.randn(2, 5, 320), torch.randn(2, 320)
    times = torch.tensor([120.5, 800.0])
    with torch.no_grad():
        silence = torch.zeros(2, SILENT, 320)
        wanted = model(cells, torch.cat([text, silence], 1), summary, times).sample
        with capture_joint_attention(model, Capture("cross")) as maps:
            model(cells, torch.cat([text, silence], 1), summary, times)
        recorder = attach(model, [1])
        recorder.count = 1
        if compiled:
            model.compile(backend="eager")
        found = model(cells, torch.cat([text, silence[:, :1]], 1), summary, times).sample
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))
    (kept,) = recorder.cross_maps
    own = maps[1].probs[:1]
    assert torch.allclose(kept[..., :5], own[..., :5], atol=1e-6)
    assert torch.allclose(kept[..., 5], own[..., 5:].sum(-1), atol=1e-5)


def test_training_noises_as_the_scheduler_shifts() -> None:
    scheduler = make_scheduler()
    assert torch.allclose(shares_of_noise(torch.tensor([0.0, 1.0])), torch.tensor([0.0, 1.0]))
    places = torch.arange(1, 1001) / 1000
    assert torch.allclose(shares_of_noise(places).flip(0), scheduler.sigmas, atol=1e-6)


def test_uce_localises_learns_and_draws_with_an_export(trained: DitTrainer, tmp_path: Path) -> None:
    folder = trained.options.work / "export"
    silent: dict[str, Any] = {"text_encoder_3": None, "tokenizer_3": None}
    pipe = StableDiffusion3Pipeline.from_pretrained(folder, **silent)
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe("a photo of a dog", num_inference_steps=1, generator=torch.Generator().manual_seed(0)).images[0]
    assert drawn.size == (128, 128)
    picture = np.full((128, 128, 3), 220, np.uint8)
    picture[24:90, 20:80] = (200, 30, 30)
    settings = ["clusterer.clusters=1", "optimizer.steps=1", "optimizer.merge_step=0", "run.sample_steps=1"]
    plugins: dict[str, Any] = {"clusterer": "kmeans", "refiner": "none"}
    done = uce.run(picture, tmp_path / "run", model=str(folder), set=settings, **plugins)
    (concept,) = done.concepts
    assert {name: vector.shape[-1] for name, vector in concept.vectors.items()} == {"clip_l": 256, "clip_g": 64}
    assert (tmp_path / "run" / "samples" / "asset0.png").is_file()
