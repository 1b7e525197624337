"""What a model holds and where: offload, checkpointing, the plan, the precision that "auto" chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uce.core.model.backbone import Capture
from uce.core.model.costs import GIGABYTE, Costs, carry_out, make_plan, plan_for
from uce.plugins.backbones._sd.residence import Residence

Load = Callable[..., Any]


@pytest.fixture
def lean(tiny_pipeline: Path, load_backbone: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An offloading model on a device that is played by float64: a part that is used elsewhere has the wrong type."""
    moves: list[tuple[str, str]] = []

    def move(self: Residence, name: str, device: str) -> None:
        moves.append((name, device))
        self.parts[name].to(torch.float32 if device == "cpu" else torch.float64)

    monkeypatch.setattr(Residence, "_move", move)
    backbone = load_backbone(tiny_pipeline, offload=True)
    backbone.precision, backbone.residence.device, backbone.moves = "float64", "there", moves
    return backbone


def plain_double(tiny_pipeline: Path, load_backbone: Load) -> Any:
    backbone = load_backbone(tiny_pipeline)
    for part in (backbone.unet, backbone.vae, backbone.text_encoder):
        part.double()
    backbone.precision = "float64"
    return backbone


def forward(backbone: Any, vectors: torch.Tensor) -> torch.Tensor:
    prompt = backbone.tokenize("a photo of <x>", {"<x>": 0})
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with backbone.capture(Capture("cross", sides=frozenset({8}))) as maps:
        states = backbone.encode_prompts([prompt], {"clip": vectors})
        prediction = backbone.predict(noisy, torch.tensor([500]), states)
    return prediction.square().mean() + sum(one.probs[..., 4].mean() for one in maps)


def leaf() -> torch.Tensor:
    return torch.randn(1, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_no_weight_moves_between_forward_and_backward(tiny_pipeline: Path, load_backbone: Load, lean: Any) -> None:
    vectors, expected = leaf(), leaf()
    lean.encode_image(torch.zeros(1, 3, 64, 64))
    loss = forward(lean, vectors)
    before = list(lean.moves)
    lean.decode(torch.zeros(1, 4, 16, 16))  # an observer that looks at something in between
    assert ("unet", "cpu") not in lean.moves and ("clip", "cpu") not in lean.moves
    assert [move for move in lean.moves[len(before) :] if move[0] != "vae"] == []
    loss.backward()
    forward(plain_double(tiny_pipeline, load_backbone), expected).backward()
    assert vectors.grad is not None and expected.grad is not None
    assert torch.equal(vectors.grad, expected.grad)


def test_updates_in_a_row_move_nothing_and_drawing_makes_room(lean: Any) -> None:
    vectors = leaf()
    lean.encode_image(torch.zeros(1, 3, 64, 64))
    forward(lean, vectors).backward()
    assert lean.residence.here == {"unet", "clip"}, "the VAE left, what learns stays"
    before = len(lean.moves)
    for _ in range(2):
        forward(lean, vectors).backward()
    assert len(lean.moves) == before
    with torch.no_grad():
        states = lean.encode_prompts([lean.tokenize("a cat")])
        assert lean.residence.here == {"clip"}
        lean.predict(torch.zeros(1, 4, 16, 16), torch.tensor([5]), states)
        assert lean.residence.here == {"unet"}
    lean.decode(torch.zeros(1, 4, 16, 16))
    assert lean.residence.here == {"vae"} and lean.moves[-2:] == [("unet", "cpu"), ("vae", "there")]


def test_the_played_device_notices_a_weight_that_moves(lean: Any) -> None:
    loss = forward(lean, leaf())
    lean.text_encoder.to(torch.float32)  # as offload did before
    with pytest.raises(RuntimeError, match="Double but found Float"):
        loss.backward()


def test_trained_weights_keep_the_unet_in_place(lean: Any) -> None:
    from uce.core.model.tuning import Tuning

    with lean.train_weights(Tuning(kind="lora", rank=2, seed=0)):
        lean.decode(torch.zeros(1, 4, 16, 16))
        assert "unet" in lean.residence.here
    lean.decode(torch.zeros(1, 4, 16, 16))
    lean.encode_prompts([lean.tokenize("a cat")])
    assert lean.residence.here == {"clip"}


def test_a_run_that_offloads_learns_the_same_tokens(tiny_pipeline: Path, tmp_path: Path) -> None:
    import uce

    settings = ["clusterer.clusters=2", "optimizer.steps=2", "optimizer.merge_step=1", "run.samples=0", "run.threads=1"]
    common: dict[str, Any] = {"model": tiny_pipeline, "clusterer": "kmeans", "refiner": "none", "device": "cpu"}
    runs = [
        uce.run("examples/beach.png", tmp_path / str(len(extra)), **common, set=[*settings, *extra])
        for extra in ([], ["model.offload=true"], ["model.offload=true", "model.checkpointing=true"])
    ]
    stored = [(run.path / "embeddings.safetensors").read_bytes() for run in runs]
    assert stored[0] == stored[1] == stored[2]


@pytest.mark.parametrize("kind", ["tiny_pipeline", "tiny_pipeline_v"])
def test_checkpointing_changes_no_bit_of_a_gradient(
    kind: str, request: pytest.FixtureRequest, load_backbone: Load
) -> None:
    folder = request.getfixturevalue(kind)
    plain, twice = load_backbone(folder), load_backbone(folder, checkpointing=True)
    calls: list[int] = []
    twice.unet.mid_block.resnets[0].norm1.register_forward_hook(lambda *_: calls.append(1))
    first, second = leaf(), leaf()
    losses = [forward(backbone, vectors) for backbone, vectors in ((plain, first), (twice, second))]
    assert torch.equal(*losses) and len(calls) == 1
    for loss in losses:
        loss.backward()
    assert first.grad is not None and second.grad is not None and torch.equal(first.grad, second.grad)
    assert len(calls) == 2, "the block was computed again"
    with torch.no_grad():
        forward(twice, leaf())
    assert len(calls) == 3
    assert not any(type(layer).__name__ == "_Watcher" for layer in twice.unet.attn_processors.values())


def test_counts_are_what_a_pass_keeps(tiny_pipeline: Path, load_backbone: Load) -> None:
    backbone = load_backbone(tiny_pipeline)
    costs = backbone.costs()
    assert backbone.costs(quick=True) is costs and costs.cells == 256
    own = {value.untyped_storage().data_ptr() for value in backbone.unet.parameters()}
    kept: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    states = torch.randn(1, 77, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        backbone.unet(torch.randn(1, 4, 16, 16), torch.tensor([1]), encoder_hidden_states=states)
    assert sum(kept.values()) == pytest.approx(costs.kept, rel=0.25)
    assert costs.kept_checkpointed < 0.6 * costs.kept
    assert sum(costs.weights.values()) == sum(
        value.numel() * 4
        for part in (backbone.unet, backbone.vae, backbone.text_encoder)
        for value in part.parameters()
    )


def gigabytes(value: float) -> int:
    return int(value * GIGABYTE)


XL = Costs(
    weights={"unet": gigabytes(4.8), "vae": gigabytes(0.16), "clip_l": gigabytes(0.23), "clip_g": gigabytes(1.3)},
    kept=gigabytes(4.8),
    kept_checkpointed=gigabytes(0.56),
    largest=gigabytes(0.04),
    decode=gigabytes(1.5),
    decode_tiled=gigabytes(0.4),
    forward=6.8e12,
    cells=4096,
)


@pytest.mark.parametrize(
    ("free", "offload", "checkpointing", "micro_batch", "tiling", "fits"),
    [
        (80, False, False, 9, False, True),
        (16, False, False, 1, False, True),
        (12, False, True, 4, False, True),
        (9, False, True, 1, True, True),
        (8, True, True, 1, False, True),
        (6, True, True, 1, False, False),
    ],
)
def test_the_plan_takes_what_fits(
    free: float, offload: bool, checkpointing: bool, micro_batch: int, tiling: bool, fits: bool
) -> None:
    plan = make_plan(XL, gigabytes(free), offload=offload)
    assert (plan.checkpointing, plan.micro_batch, plan.tiling, plan.fits) == (
        checkpointing, micro_batch, tiling, fits,
    ), str(plan)  # fmt: skip


def test_the_plan_is_one_line_with_true_advice() -> None:
    plan = make_plan(XL, gigabytes(5))
    assert "it will not fit: add --set model.offload=true" in str(plan) and "\n" not in str(plan)
    assert "it will not fit: give a smaller model" in str(make_plan(XL, gigabytes(5), offload=True))
    assert "it will not fit" not in str(make_plan(XL, gigabytes(80)))


def test_the_plan_is_carried_out(tiny_pipeline: Path, load_backbone: Load) -> None:
    backbone = load_backbone(tiny_pipeline)
    model = SimpleNamespace(checkpointing=True, tiling=True, offload=False)
    assert plan_for(backbone, model) is None, "nobody counted yet, and a run does not wait for it"
    plan = plan_for(backbone, model, quick=False)
    assert plan is not None and plan.checkpointing and plan.tiling
    carry_out(plan, backbone)
    assert backbone.checkpointing and backbone.vae.use_tiling and backbone.vae.tile_sample_min_size == 32
    assert backbone.decode(torch.zeros(1, 4, 16, 16)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(("supported", "expected"), [(True, "bfloat16"), (False, "float16")])
def test_auto_precision_asks_the_card(supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    from uce.core.config.devices import resolve_run
    from uce.core.flow.run_settings import RunSettings

    asked: list[bool] = []

    def is_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return supported

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device", lambda name: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert resolve_run(RunSettings(device="cuda")).precision == expected and asked == [False]
    assert resolve_run(RunSettings(device="cpu")).precision == "float32"


def test_advice_for_memory_has_an_effect(tiny_pipeline: Path, load_backbone: Load) -> None:
    from uce.core.flow.run_settings import RunSettings, what_to_lower

    backbone, run = load_backbone(tiny_pipeline), RunSettings(micro_batch=1)
    with_cells, without = SimpleNamespace(cells=32), SimpleNamespace(cells=16)
    assert "lower extractor.cells (now 32; --set extractor.cells=16)" in what_to_lower(
        run, "extractor", with_cells, backbone
    )
    assert "cells" not in what_to_lower(run, "extractor", without, backbone), "16 cells are the model's own"
    assert "--set model.checkpointing=true" in what_to_lower(run, "optimizer", None, backbone)
    backbone.save_memory()
    assert "checkpointing" not in what_to_lower(run, "optimizer", None, backbone)


def test_a_sampled_latent_is_another_one_and_the_same_every_time(tiny_pipeline: Path, load_backbone: Load) -> None:
    mode, drawn = load_backbone(tiny_pipeline), load_backbone(tiny_pipeline, sample_latent=True)
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = drawn.encode_image(pixels)
    assert torch.equal(found, drawn.encode_image(pixels)) and not torch.equal(found, mode.encode_image(pixels))
    spread = drawn.vae.encode(pixels).latent_dist.std * drawn.vae.config.scaling_factor
    deviation = (found - mode.encode_image(pixels)) / spread
    assert 0.8 < float(deviation.std()) < 1.2


def test_flipped_maps_are_those_of_the_mirrored_picture_turned_back(tiny_pipeline: Path, load_backbone: Load) -> None:
    import numpy as np

    from uce.core import Context
    from uce.core.flow.picture import read_picture
    from uce.plugins.extractors.self_attention import SelfAttentionExtractor

    backbone, extractor = load_backbone(tiny_pipeline), SelfAttentionExtractor()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    def maps(picture: np.ndarray[Any, Any], **settings: Any) -> Any:
        return extractor.uce_extract_attention(
            backbone, read_picture(picture, 64, "stretch"), extractor.Settings(**settings), Context(stage="extractor")
        )

    flipped, mirror, plain = maps(pixels, flip=True), maps(np.ascontiguousarray(pixels[:, ::-1])), maps(pixels)
    assert torch.equal(flipped.saliency, mirror.saliency.flip(1))
    whole = mirror.affinity.reshape(16, 16, 16, 16).flip(1, 3).reshape(256, 256)
    assert torch.allclose(flipped.affinity, whole) and not torch.allclose(flipped.affinity, plain.affinity)


def test_the_first_lines_say_what_is_needed_and_what_stays_idle(
    tiny_pipeline: Path, load_backbone: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uce.core.flow.run_settings import ModelSettings, RunSettings
    from uce.terminal.progress import ModelLine

    backbone = load_backbone(tiny_pipeline)
    config = SimpleNamespace(preset="default", model=ModelSettings(), run=RunSettings(device="cpu", micro_batch=4))
    event: Any = SimpleNamespace(config=config)
    assert list(ModelLine._more(backbone, event)) == [], "a small model of nobody's shape: no plan, no warning"
    backbone.costs()
    memory, preset = ModelLine._more(backbone, event)
    assert memory.startswith("memory: extract ") and "micro-batch 4" in memory
    assert preset.startswith("preset default was chosen on mini and not tried on real weights; uce doctor --model ")
    config.preset, config.run = "paper", RunSettings(device="cuda", micro_batch=4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    memory, idle = ModelLine._more(backbone, event)
    assert idle == "2 GPUs are here and a run uses one; uce batch --executor processes gives each worker one"


def test_samples_of_a_few_step_model_follow_it_unless_the_user_says(tiny_pipeline: Path, tmp_path: Path) -> None:
    import shutil

    import yaml

    import uce

    model = Path(shutil.copytree(tiny_pipeline, tmp_path / "tiny-turbo"))
    settings = ["clusterer.clusters=1", "optimizer.steps=1", "optimizer.merge_step=0", "run.threads=1"]
    common: dict[str, Any] = {"model": model, "clusterer": "kmeans", "refiner": "none", "device": "cpu"}
    for number, (extra, expected) in enumerate((([], (8, 1.0)), (["run.guidance=3"], (8, 3.0)))):
        run = uce.run("examples/beach.png", tmp_path / str(number), **common, set=[*settings, *extra])
        stored = yaml.safe_load((run.path / "config.yaml").read_text())["run"]
        assert (stored["sample_steps"], stored["guidance"]) == expected
