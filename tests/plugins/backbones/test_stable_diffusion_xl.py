"""Stable Diffusion XL, compared with diffusers' own pipeline on a tiny model with random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from drawn import two_squares
from safetensors.torch import load_file

import uce
from uce.core.errors import ModelError, StageInputError
from uce.core.model.backbone import Capture
from uce.plugins.backbones.stable_diffusion_xl import StableDiffusionXLBackbonePlugin

WIDTHS = {"clip_l": 16, "clip_g": 24}
Cli = Callable[..., tuple[int, str, str]]


def load_xl(model: Any, precision: str = "float32", **settings: Any) -> Any:
    return StableDiffusionXLBackbonePlugin().uce_load_backbone(
        str(model), SimpleNamespace(**settings), "cpu", precision
    )


@pytest.fixture(scope="module")
def backbone(tiny_pipeline_xl: Path) -> Any:
    return load_xl(tiny_pipeline_xl)


@pytest.fixture
def copied(tiny_pipeline_xl: Path, tmp_path: Path) -> Path:
    """A copy of the tiny folder, to break."""
    return Path(shutil.copytree(tiny_pipeline_xl, tmp_path / "model"))


@pytest.fixture(scope="module")
def pipe(tiny_pipeline_xl: Path) -> Any:
    """diffusers' own pipeline, which knows nothing of us."""
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(str(tiny_pipeline_xl), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def draw_tokens(num: int = 1, seed: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {"<x>": {name: torch.randn(num, width, generator=generator) for name, width in WIDTHS.items()}}


def sampler(config: Any) -> Any:
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler.from_config({k: v for k, v in config.items() if not k.startswith("_")})


def test_everything_comes_from_the_parts(backbone: Any) -> None:
    assert (backbone.picture_side, backbone.latent_side, backbone.latent_channels) == (64, 16, 4)
    assert backbone.num_timesteps == 1000 and backbone.encoders == ("clip_l", "clip_g")
    assert "Stable Diffusion XL" in backbone.description and "\n" not in backbone.description
    for part in (backbone.unet, backbone.vae, backbone.text_encoder, backbone.text_encoder_2):
        assert not part.training and not any(weight.requires_grad for weight in part.parameters())
    assert {name: backbone.embedding_table(name).shape[1] for name in backbone.encoders} == WIDTHS
    assert backbone.word_ids("cat", "clip_g") == [backbone.tokenizer.convert_tokens_to_ids("cat</w>")]
    with pytest.raises(StageInputError, match="unknown text encoder 'clip'; available: clip_l, clip_g"):
        backbone.embedding_table("clip")


@pytest.mark.parametrize("text", ["a photo of cat and red cup", "", "Ünïcode 12!"])
def test_states_and_pooled_equal_the_pipelines(backbone: Any, pipe: Any, text: str) -> None:
    states, _, pooled, _ = pipe.encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
    found = backbone.encode_prompts([backbone.tokenize(text)])
    assert torch.allclose(found.states, states, atol=1e-5)
    assert torch.allclose(found.added["text_embeds"], pooled, atol=1e-5)
    sizes = pipe._get_add_time_ids((64, 64), (0, 0), (64, 64), torch.float32, 20)
    assert torch.equal(found.added["time_ids"], sizes)


@pytest.mark.parametrize("num", [1, 3])
def test_tokens_equal_those_in_our_pipeline(backbone: Any, num: int) -> None:
    tokens = draw_tokens(num)
    prompt = backbone.tokenize_multi("a photo of <x> and cat", {"<x>": list(range(num))})
    found = backbone.encode_prompts([prompt], tokens["<x>"])
    states, _, pooled, _ = backbone.pipeline(tokens).encode_prompt("a photo of <x> and cat", device="cpu")
    assert torch.allclose(found.states, states, atol=1e-5)
    assert torch.allclose(found.added["text_embeds"], pooled, atol=1e-5), "pooled at the end, not at the token"


def test_both_encoders_see_a_token_at_the_same_place(backbone: Any) -> None:
    prompt = backbone.tokenize("a photo of <x> and <y>", {"<x>": 4, "<y>": 0})
    assert prompt.slots["clip_l"].tolist() == prompt.slots["clip_g"].tolist()
    assert prompt.positions(4) == [4] and prompt.positions(0) == [6] and prompt.end == {"clip_l": 7, "clip_g": 7}
    first, second = (prompt.ids[name][8:].unique().tolist() for name in backbone.encoders)
    assert first == [backbone.tokenizer.eos_token_id] and second == [backbone.tokenizer_2.convert_tokens_to_ids("!")]


def test_prediction_equals_the_unets_own(backbone: Any, pipe: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy, timesteps = torch.randn(2, 4, 16, 16, generator=generator), torch.tensor([10, 700])
    states, _, pooled, _ = pipe.encode_prompt(["a cat", "red cup"], device="cpu", do_classifier_free_guidance=False)
    sizes = pipe._get_add_time_ids((64, 64), (0, 0), (64, 64), torch.float32, 20).repeat(2, 1)
    added = {"text_embeds": pooled, "time_ids": sizes}
    with torch.no_grad():
        expected = pipe.unet(noisy, timesteps, encoder_hidden_states=states, added_cond_kwargs=added).sample
        conditioning = backbone.encode_prompts([backbone.tokenize(text) for text in ("a cat", "red cup")])
        assert torch.allclose(backbone.predict(noisy, timesteps, conditioning), expected, atol=1e-5)
        one = backbone.encode_prompts([backbone.tokenize("a cat")])
        assert torch.allclose(backbone.predict(noisy, timesteps, one)[:1], expected[:1], atol=1e-5)


def test_capture_changes_nothing(backbone: Any) -> None:
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    conditioning = backbone.encode_prompts([backbone.tokenize("a cat")])
    processors = {name: id(value) for name, value in backbone.unet.attn_processors.items()}
    with torch.no_grad():
        plain = backbone.predict(noisy, torch.tensor([10]), conditioning)
        with backbone.capture(Capture("self"), Capture("cross")) as maps:
            assert torch.equal(backbone.predict(noisy, torch.tensor([10]), conditioning), plain)
    assert {layer.grid for layer in maps} == {(8, 8), (4, 4)}
    assert all(torch.allclose(layer.probs.sum(dim=2), torch.ones(()), atol=1e-5) for layer in maps)
    assert processors == {name: id(value) for name, value in backbone.unet.attn_processors.items()}


def test_gradient_reaches_the_vectors_of_both_encoders(backbone: Any) -> None:
    vectors = {name: value.requires_grad_() for name, value in draw_tokens(2)["<x>"].items()}
    prompt = backbone.tokenize("a photo of <x>", {"<x>": 1})
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    prediction = backbone.predict(noisy, torch.tensor([500]), backbone.encode_prompts([prompt], vectors))
    prediction.square().sum().backward()
    for value in vectors.values():
        assert value.grad is not None and value.grad[1].any() and not value.grad[0].any()
    assert all(weight.grad is None for weight in backbone.text_encoder_2.parameters())


@pytest.mark.parametrize("zero", [True, False])
def test_generate_equals_diffusers_with_the_same_sampler(copied: Path, zero: bool) -> None:
    from diffusers import StableDiffusionXLPipeline

    edit(copied / "model_index.json", force_zeros_for_empty_prompt=zero)
    own = StableDiffusionXLPipeline.from_pretrained(str(copied), add_watermarker=False)
    own.set_progress_bar_config(disable=True)
    backbone = load_xl(copied)
    own.scheduler = sampler(backbone.scheduler_config)
    for guidance in (5.0, 1.0):
        generator = torch.Generator().manual_seed(7)
        expected = own("a cat", num_inference_steps=3, guidance_scale=guidance, generator=generator).images[0]
        (found,) = backbone.generate(["a cat"], seeds=[7], steps=3, guidance=guidance)
        assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize("num", [1, 2])
def test_generate_with_tokens_equals_our_pipeline(backbone: Any, num: int) -> None:
    tokens = draw_tokens(num)
    pipe = backbone.pipeline(tokens)
    assert type(pipe).__name__ == "StableDiffusionXLPipeline"
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = sampler(backbone.scheduler_config)
    generator = torch.Generator().manual_seed(7)
    expected = pipe("a photo of <x>", num_inference_steps=3, generator=generator).images[0]
    (found,) = backbone.generate(["a photo of <x>"], tokens, seeds=[7], steps=3)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2
    (plain,) = backbone.generate(["a photo of cat"], seeds=[7], steps=3)
    assert not np.array_equal(np.asarray(found), np.asarray(plain))


def test_the_pipeline_leaves_the_backbone_alone(backbone: Any) -> None:
    def state() -> list[Any]:
        encoders = (backbone.text_encoder, backbone.text_encoder_2)
        tables = [encoder.get_input_embeddings().weight.shape for encoder in encoders]
        return [
            len(backbone.tokenizer),
            len(backbone.tokenizer_2),
            *tables,
            backbone.text_encoder_2.config.eos_token_id,
        ]

    before = state()
    backbone.pipeline(draw_tokens(2))
    assert state() == before


@pytest.mark.parametrize(
    ("vectors", "found"),
    [({"clip": torch.zeros(1, 16)}, "found clip"), ({"clip_l": torch.zeros(1, 16)}, "found 1 for clip_l"),
     ({"clip_l": torch.zeros(1, 16), "clip_g": torch.zeros(2, 24)}, "found 1 for clip_l, 2 for clip_g")],
)  # fmt: skip
def test_tokens_of_another_kind_of_model_are_refused(backbone: Any, vectors: Any, found: str) -> None:
    with pytest.raises(StageInputError, match=rf"token <x> needs equally many vectors .*\(clip_l, clip_g\), {found};"):
        backbone.generate(["a <x>"], {"<x>": vectors}, seeds=[0], steps=1)
    with pytest.raises(StageInputError, match=rf"token <x> needs equally many vectors .*\(clip_l, clip_g\), {found};"):
        backbone.pipeline({"<x>": vectors})


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(tiny_pipeline_xl: Path, backbone: Any, precision: str) -> None:
    half = load_xl(tiny_pipeline_xl, precision)
    assert half.vae.dtype is (torch.float32 if precision == "float16" else torch.bfloat16), "it overflows in float16"
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found, expected = (
        one.predict(noisy, torch.tensor([10]), one.encode_prompts([one.tokenize("a cat")])) for one in (half, backbone)
    )
    assert found.dtype is torch.float32 and torch.allclose(found, expected, atol=0.1 * float(expected.abs().max()))
    pipe = half.pipeline(draw_tokens())
    pipe.set_progress_bar_config(disable=True)
    assert pipe("a <x>", num_inference_steps=1).images[0].size == (64, 64)


def test_offload_gives_the_same_numbers(tiny_pipeline_xl: Path, backbone: Any) -> None:
    lean = load_xl(tiny_pipeline_xl, offload=True)
    found, expected = (one.encode_prompts([one.tokenize("a cat")]) for one in (lean, backbone))
    assert torch.equal(found.states, expected.states)


def test_localisation_works_at_the_finest_layers(backbone: Any) -> None:
    """XL has no attention at the latent's own side (16): the grid is that of its finest layers (8)."""
    from uce.core import Context
    from uce.core.flow.picture import read_picture
    from uce.plugins.extractors.self_attention import SelfAttentionExtractor

    picture = read_picture(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), 64, "stretch")
    extractor = SelfAttentionExtractor()
    maps = extractor.uce_extract_attention(backbone, picture, extractor.Settings(), Context(stage="extractor"))
    assert maps.grid == (8, 8) and maps.affinity.shape == (64, 64)


@pytest.fixture(scope="module")
def done(tiny_pipeline_xl: Path, tmp_path_factory: pytest.TempPathFactory) -> uce.Run:
    """A run with the default preset's stages but few updates, through the Python interface."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("xl")
    Image.fromarray(two_squares(48, 64)).save(folder / "scene.png")
    return uce.run(folder / "scene.png", folder / "out", model=tiny_pipeline_xl, **OPTIONS)


OPTIONS: dict[str, Any] = {
    "clusterer": "kmeans",
    "refiner": "none",
    "device": "cpu",
    "set": ["clusterer.clusters=2", "optimizer.steps=4", "optimizer.merge_step=2", "optimizer.attention_weight=1e-3",
            "initializer.split_tokens=2", "run.sample_steps=2", "run.threads=1"],
}  # fmt: skip
FLAGS = [flag for text in OPTIONS["set"] for flag in ("--set", text)]


def test_a_run_learns_vectors_for_both_encoders(done: uce.Run, backbone: Any) -> None:
    assert done.info["status"] == "done" and len(done.concepts) == 2
    stored = load_file(done.path / "embeddings.safetensors")
    assert set(stored) == {f"<asset{k}>.{name}" for k in range(2) for name in WIDTHS}
    for concept in done.concepts:
        assert list(concept.vectors) == ["clip_l", "clip_g"], "in the model's order, which files do not keep"
        assert torch.equal(concept.embedding, stored[f"{concept.token}.clip_l"])
    rows = (done.path / "history.csv").read_text().splitlines()
    assert len(rows) > 4 and float(dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))["attention"]) > 0
    assert {name: value.shape for name, value in done.tokens()["<asset0>"].items()} == {
        name: (1, width) for name, width in WIDTHS.items()
    }
    starts = [backbone.embedding_table(name) for name in WIDTHS]
    for table, name in zip(starts, WIDTHS, strict=True):
        assert not (table == stored[f"<asset0>.{name}"]).all(dim=1).any(), "it moved away from the vocabulary"


def test_token_files_load_into_diffusers_as_others_load_them(done: uce.Run, tiny_pipeline_xl: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(str(tiny_pipeline_xl), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    state = load_file(done.path / "tokens" / "asset0.safetensors")
    assert set(state) == {"clip_l", "clip_g"}
    token = done.concepts[0].token
    first = {"text_encoder": pipe.text_encoder, "tokenizer": pipe.tokenizer}
    second = {"text_encoder": pipe.text_encoder_2, "tokenizer": pipe.tokenizer_2}
    pipe.load_textual_inversion(state["clip_l"], token=token, **first)
    pipe.load_textual_inversion(state["clip_g"], token=token, **second)
    pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id  # see docs/quickstart.md
    text = f"a photo of {token}"
    states, _, pooled, _ = pipe.encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
    ours = done.pipeline("cpu")
    expected, _, expected_pooled, _ = ours.encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
    assert torch.allclose(states, expected, atol=1e-6) and torch.allclose(pooled, expected_pooled, atol=1e-6)
    ours.set_progress_bar_config(disable=True)
    pictures = [
        np.asarray(one(text, num_inference_steps=2, generator=torch.Generator().manual_seed(1)).images[0])
        for one in (pipe, ours)
    ]
    assert np.array_equal(*pictures)


def test_lora_weights_work_as_with_other_models(tiny_pipeline_xl: Path, tmp_path: Path) -> None:
    """Trained beside the tokens, drawn with, and loaded by diffusers from the run's own file."""
    from diffusers import StableDiffusionXLPipeline

    picture = two_squares(48, 64)
    settings = [*OPTIONS["set"], "optimizer.lora_steps=2", "optimizer.lora_rate=0.1"]
    options = {**OPTIONS, "optimizer": "lora", "set": settings}
    run = uce.run(picture, tmp_path / "out", model=tiny_pipeline_xl, **options)
    assert run.weights and all(name.startswith("unet.") for name in run.weights)
    theirs = StableDiffusionXLPipeline.from_pretrained(str(tiny_pipeline_xl), add_watermarker=False)
    theirs.load_lora_weights(run.path, weight_name="weights.safetensors")
    ours = run.pipeline("cpu")
    assert ours.get_active_adapters() and theirs.get_active_adapters()
    drawn = []
    for pipe in (ours, theirs):
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(1)
        drawn.append(np.asarray(pipe("a photo", num_inference_steps=2, generator=generator).images[0]))
    assert np.array_equal(*drawn)
    plain = run.backbone("cpu").pipeline(run.tokens())
    plain.set_progress_bar_config(disable=True)
    without = plain("a photo", num_inference_steps=2, generator=torch.Generator().manual_seed(1)).images[0]
    assert not np.array_equal(np.asarray(without), drawn[0])


def test_generate_draws_with_the_runs_tokens(done: uce.Run) -> None:
    (picture,) = uce.generate("a photo of <asset0> and <asset1>", done, steps=2, device="cpu")
    assert picture.size == (64, 64)


def test_a_run_on_the_command_line_is_resumed_with_the_same_bytes(
    done: uce.Run, cli: Cli, tiny_pipeline_xl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uce.core.training.loop import Training

    common = [
        "run", done.path.parent / "scene.png", "-o", tmp_path / "out", "--model", tiny_pipeline_xl, "--device", "cpu",
        "--clusterer", "kmeans", "--refiner", "none", *FLAGS,
    ]  # fmt: skip
    update = Training.step

    def interrupt(self: Training, step: Any) -> torch.Tensor:
        if step.number == 3:
            raise KeyboardInterrupt
        return update(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", interrupt)
        code, _, stderr = cli(*common, "--set", "run.checkpoint_every=1")
    assert code == 130 and "--resume" in stderr
    code, _, stderr = cli(*common, "--set", "run.checkpoint_every=1", "--resume")
    assert code == 0, stderr
    for name in ("embeddings.safetensors", "history.csv", "tokens/asset0.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (done.path / name).read_bytes()


def test_trained_weights_reach_the_pipeline(
    done: uce.Run, backbone: Any, tiny_pipeline_xl: Path, tmp_path: Path
) -> None:
    settings = ["clusterer.clusters=2", "optimizer.steps=1", "optimizer.lora_steps=3", "run.samples=0", "run.threads=1"]
    options = OPTIONS | {"set": settings}
    run = uce.run(done.path.parent / "scene.png", tmp_path / "out", model=tiny_pipeline_xl, optimizer="lora", **options)
    assert (run.path / "weights.safetensors").is_file()
    pictures = []
    for weights in (load_file(run.path / "weights.safetensors"), None):
        pipe = backbone.pipeline(run.tokens(), weights)
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(7)
        pictures.append(pipe("a <asset0>", num_inference_steps=1, generator=generator, output_type="latent").images)
    assert not torch.equal(*pictures), "the LoRA layers count"
    assert type(run.pipeline("cpu")).__name__ == "StableDiffusionXLPipeline"
    assert not any("lora" in name for name, _ in backbone.unet.named_parameters()), "in a copy of the UNet"


@pytest.mark.parametrize("initializer", ["random", "word-search"])
def test_other_initializers_serve_both_encoders(
    done: uce.Run, tiny_pipeline_xl: Path, tmp_path: Path, initializer: str
) -> None:
    options = OPTIONS | {"set": [text for text in OPTIONS["set"] if not text.startswith("initializer")]}
    small = ["initializer.candidates=3", "initializer.noise_levels=1"] if initializer == "word-search" else []
    options["set"] = [*options["set"], *small, "run.samples=0"]
    picture = done.path.parent / "scene.png"
    run = uce.run(picture, tmp_path / "out", model=tiny_pipeline_xl, initializer=initializer, **options)
    assert {name: value.shape[1] for name, value in run.concepts[0].vectors.items()} == WIDTHS


def test_doctor_tries_the_model(cli: Cli, tiny_pipeline_xl: Path) -> None:
    code, stdout, stderr = cli("doctor", "--model", tiny_pipeline_xl, "--device", "cpu")
    assert code == 0, stdout + stderr
    assert all(f"ok    {name}" in stdout for name in ("load", "localize", "learn", "draw"))


def test_each_model_goes_to_the_plugin_that_understands_it(tiny_pipeline: Path, tiny_pipeline_xl: Path) -> None:
    from uce.core.registry.manager import load_manager

    def load(model: Path, *without: str) -> Any:
        return load_manager(no_plugins=without).pm.hook.uce_load_backbone(
            model=str(model), settings=SimpleNamespace(), device="cpu", precision="float32"
        )

    assert load(tiny_pipeline).encoders == ("clip",) and load(tiny_pipeline_xl).encoders == ("clip_l", "clip_g")
    assert load(tiny_pipeline_xl, "stable-diffusion-xl") is None
    assert load_xl(tiny_pipeline) is None and load_xl("mini") is None and load_xl("gone") is None


def test_xl_is_asked_before_the_plugin_that_explains() -> None:
    from uce.core.registry.manager import load_manager

    hook = load_manager().pm.hook.uce_load_backbone
    asked = [impl.plugin.name for impl in reversed(hook.get_hookimpls())]
    assert asked[-2:] == ["stable-diffusion-xl", "stable-diffusion"]


def test_variants_and_fingerprint(copied: Path, backbone: Any) -> None:
    assert load_xl(copied).fingerprint == backbone.fingerprint
    for path in [*copied.glob("*/model.safetensors"), *copied.glob("*/diffusion_pytorch_model.safetensors")]:
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert load_xl(copied).description.endswith("; from its fp16 files")
    assert load_xl(copied, variant="fp16").fingerprint == backbone.fingerprint
    edit(copied / "model_index.json", force_zeros_for_empty_prompt=False)
    assert load_xl(copied, variant="fp16").fingerprint != backbone.fingerprint


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("text_encoder_2", "has no text_encoder_2: the folder 'text_encoder_2' is missing; download it"),
        ("text_encoder_2/config.json", "is incomplete: text_encoder_2/config.json is missing"),
        ("tokenizer_2/merges.txt", "tokenizer_2/merges.txt is missing; download it again"),
        ("scheduler/scheduler_config.json", "is incomplete: scheduler/scheduler_config.json is missing"),
    ],
)
def test_missing_parts_are_named(copied: Path, part: str, text: str) -> None:
    path = copied / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ModelError, match=text):
        load_xl(copied)


def test_parts_that_do_not_belong_together(copied: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    edit(copied / "scheduler" / "scheduler_config.json", sigma_data=0.5)
    with pytest.raises(ModelError, match=r"was trained with the EDM noise schedule \(\w+\), which cannot be used"):
        load_xl(copied)
    edit(copied / "scheduler" / "scheduler_config.json", sigma_data=None)
    shutil.copytree(tiny_pipeline / "unet", copied / "unet", dirs_exist_ok=True)
    with pytest.raises(ModelError, match=r"takes conditions of width None, .*; refiners cannot be used, choose"):
        load_xl(copied)


def test_tokenizers_that_cut_differently_are_refused(copied: Path) -> None:
    edit(copied / "tokenizer_2" / "tokenizer_config.json", model_max_length=50)
    with pytest.raises(ModelError, match="tokenizer and tokenizer_2 have other vocabularies or lengths"):
        load_xl(copied)


def test_a_hub_model_is_looked_at_before_it_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tiny_pipeline: Path, tiny_pipeline_xl: Path
) -> None:
    import huggingface_hub

    asked: list[list[str]] = []
    folder = tiny_pipeline_xl

    def fetch(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert repository == "stabilityai/stable-diffusion-xl-base-1.0"
        asked.append(allow_patterns)
        return str(folder)

    names = [path.relative_to(tiny_pipeline_xl).as_posix() for path in tiny_pipeline_xl.rglob("*")]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **__: names)
    assert load_xl("sdxl").encoders == ("clip_l", "clip_g")
    assert asked[0] == ["model_index.json"] and len(asked) == 2
    assert {"text_encoder_2/model.safetensors", "tokenizer_2/*.json", "tokenizer_2/*.txt"} <= set(asked[1])
    folder = tiny_pipeline
    assert load_xl("sdxl") is None and len(asked) == 3
