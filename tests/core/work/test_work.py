"""How much work a run does, counted: time is measured in benchmarks/, never asserted here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import uce
from uce.core.model import attention, backbone
from uce.core.work.models import forget_backbone
from uce.plugins.backbones._sd.backbone import StableDiffusionBackbone

STEPS, MERGE_STEP, SPLITS = 3, 1, 2


class Work:
    """What happened while it watched.

    Attributes:
        encoded: hash of every picture given to the VAE.
        passes: prompts and learned vectors of every UNet pass, in order.
        maps: shape and grid side of every attention map that was computed beside a pass.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded: list[str] = []
        self.passes: list[tuple[int, bool]] = []
        self.maps: list[tuple[int, tuple[int, ...]]] = []
        encode, predict = StableDiffusionBackbone.encode_image, StableDiffusionBackbone.predict
        probabilities = attention.attention_probabilities

        def encode_image(face: Any, pixels: Tensor) -> Tensor:
            self.encoded += [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in pixels]
            return encode(face, pixels)

        def noted_predict(face: Any, noisy: Tensor, timesteps: Tensor, states: backbone.Conditioning) -> Tensor:
            self.passes.append((len(noisy), states.states.requires_grad))
            return predict(face, noisy, timesteps, states)

        def noted_probabilities(*args: Any, **kwargs: Any) -> Tensor:
            found = probabilities(*args, **kwargs)
            if found.requires_grad:
                self.maps.append((len(self.passes), tuple(found.shape)))
            return found

        monkeypatch.setattr(StableDiffusionBackbone, "encode_image", encode_image)
        monkeypatch.setattr(StableDiffusionBackbone, "predict", noted_predict)
        monkeypatch.setattr(attention, "attention_probabilities", noted_probabilities)

    @property
    def training_passes(self) -> list[int]:
        """Prompts of every pass with gradient."""
        return [prompts for prompts, gradient in self.passes if gradient]


def picture() -> Any:
    found = np.full((128, 128, 3), 205, np.uint8)
    found[16:60, 16:60] = (200, 40, 30)
    found[72:112, 64:116] = (30, 60, 190)
    return found


def learn(folder: Path, preset: str, **settings: Any) -> Any:
    chosen = {"optimizer.steps": STEPS, "optimizer.merge_step": MERGE_STEP, "initializer.split_tokens": SPLITS}
    chosen |= {"run.samples": 0, **settings}
    return uce.run(
        picture(),
        folder,
        model="mini",
        preset=preset,
        clusterer="finch",
        refiner="none",
        concepts=[0, 1, 2],
        set=chosen,
    )


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    forget_backbone()  # with its latents
    return Work(monkeypatch)


def test_the_papers_run_encodes_its_picture_once(work: Work, tmp_path: Path) -> None:
    learn(tmp_path / "run", "paper", **{"optimizer.flip": 0.5})
    count = Counter(work.encoded)
    assert set(count.values()) == {1}
    assert len(count) == 2 + 3, "the picture for all stages, its mirror image for training, each thing for its name"


def test_another_run_encodes_the_same_picture_no_more(work: Work, tmp_path: Path) -> None:
    learn(tmp_path / "one", "paper")
    learn(tmp_path / "two", "paper", **{"optimizer.steps": STEPS + 1})
    assert sorted(Counter(work.encoded).values()) == [1, 1, 2, 2, 2], "only the things alone, for their names"


def test_the_papers_updates_are_one_pass_each(work: Work, tmp_path: Path) -> None:
    learn(tmp_path / "run", "paper")
    updates = 3 * SPLITS * MERGE_STEP + (3 + 1) * (STEPS - MERGE_STEP)
    assert work.training_passes == [1] * updates
    assert len(work.passes) == updates + 2 + 4, "one localises, one finds the layers to align; three names, one photo?"


def test_batched_updates_are_as_few_passes_as_the_micro_batch_allows(work: Work, tmp_path: Path) -> None:
    learn(tmp_path / "run", "default", **{"run.micro_batch": 4})
    split, merged = [4, 2], [4]
    assert work.training_passes == split * MERGE_STEP + merged * (STEPS - MERGE_STEP)


def test_an_update_computes_only_the_maps_that_its_loss_reads(work: Work, tmp_path: Path) -> None:
    """Cross-attention of the aligned layers, and of it the shown tokens' columns: every other layer is fused."""
    learn(tmp_path / "run", "paper")
    per_pass = Counter(number for number, _ in work.maps)
    assert len(set(per_pass.values())) == 1, "the same layers in every update"
    last = max(per_pass)
    shapes = {shape for number, shape in work.maps if number == last}
    assert {shape[2] for shape in shapes} == {3}, "the last prompt shows three tokens: three columns"
    assert len({shape[1] for shape in shapes}) == 1, "one side only"
    assert {shape[2] for number, shape in work.maps if number == min(per_pass)} == {1}


def test_no_map_is_computed_where_no_loss_reads_one(work: Work, tmp_path: Path) -> None:
    learn(tmp_path / "run", "paper", **{"optimizer.attention_weight": 0})
    assert work.maps == []


def test_the_command_line_imports_only_itself_and_typer() -> None:
    code = "import sys; known = set(sys.modules); import uce.cli; print(*(set(sys.modules) - known))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    tops = {name.split(".")[0] for name in done.stdout.split()}
    foreign = {name for name in tops if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign <= {"uce", "typer", "annotated_doc", "shellingham", "click", "typing_extensions", "colorama"}


def test_localising_imports_no_pipeline_and_no_plots() -> None:
    code = (
        "import sys, numpy, uce; uce.localize(numpy.eye(64, dtype='uint8')[..., None].repeat(3, 2) * 200, "
        "model='mini', refiner='none'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    unwanted = ("diffusers.pipelines.stable", "matplotlib", "gradio", "ray", "pyarrow", "datasets")
    assert not [name for name in done.stdout.split() if name.startswith(unwanted)]
