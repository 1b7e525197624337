"""The transformer backbones against diffusers' own pipelines, on tiny random models."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_transformers import SIDE, load, write_flux, write_sd3
from torch import Tensor

from uce.core.errors import ConfigError, ModelError, StageInputError
from uce.core.model.abilities import times
from uce.core.model.tuning import Tuning
from uce.plugins.backbones.flux import FluxBackbonePlugin
from uce.plugins.backbones.stable_diffusion_3 import StableDiffusion3BackbonePlugin
from uce.testing import check_plugin

TEXT = "a photo of <x> and cat"


@pytest.fixture(scope="module", params=["flux", "schnell", "sd3", "sd3-without-t5"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("model") / request.param
    if request.param in ("flux", "schnell"):
        return write_flux(to, guidance=request.param == "flux")
    return write_sd3(to, t5=request.param == "sd3")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Any:
    return load(folder)


def vectors_for(backbone: Any, count: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        encoder: torch.randn(count, backbone.embedding_table(encoder).shape[1], generator=generator) * 3
        for encoder in backbone.encoders
    }


def drawn_by_pipeline(pipe: Any, prompt: str, *, seed: int = 3) -> np.ndarray[Any, Any]:
    pipe.set_progress_bar_config(disable=True)
    picture = pipe(
        prompt,
        height=SIDE,
        width=SIDE,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(seed),
        max_sequence_length=32,
    ).images[0]
    return np.asarray(picture, int)


def test_everything_comes_from_the_parts(backbone: Any) -> None:
    assert (backbone.picture_side, backbone.latent_side, backbone.latent_channels) == (64, 16, 4)
    assert backbone.num_timesteps == 1000 and len(backbone.joint_layers) == 4
    assert backbone.model in backbone.description and len(backbone.fingerprint) == 64
    assert not any(weight.requires_grad for weight in backbone.transformer.parameters())


def test_pictures_become_latents_and_back(backbone: Any) -> None:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = backbone.vae.config
    mode = backbone.vae.encode(pixels).latent_dist.mode()
    assert torch.allclose(backbone.encode_image(pixels), (mode - config.shift_factor) * config.scaling_factor)
    decoded = backbone.decode(backbone.encode_image(pixels))
    assert torch.allclose(decoded, backbone.vae.decode(mode).sample.clamp(-1, 1), atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_conditions_equal_the_pipelines(backbone: Any, count: int) -> None:
    """Tokens of one and of several vectors: words are added to the pipeline's tokenizers, here they are slots."""
    vectors = vectors_for(backbone, count)
    pipe = backbone.pipeline({"<x>": vectors})
    more = () if "Flux" in type(pipe).__name__ else (TEXT,)
    told = pipe.encode_prompt(TEXT, TEXT, *more, device="cpu", max_sequence_length=32)
    states, pooled = told[0], told[1 if "Flux" in type(pipe).__name__ else 2]
    if count == 3 and "Flux" not in type(pipe).__name__:
        return  # this pipeline does not spell out a token's further words
    prompt = backbone.tokenize_multi(TEXT, {"<x>": list(range(count))})
    found = backbone.encode_prompts([prompt], vectors)
    assert torch.allclose(found.states, states, atol=1e-5)
    assert torch.allclose(found.added["pooled"], pooled, atol=1e-5)
    plain = backbone.encode_prompts([backbone.tokenize(TEXT)])
    assert not torch.allclose(found.states, plain.states, atol=1e-2), "the vector counts"


def test_pictures_equal_the_pipelines(backbone: Any) -> None:
    tokens = {"<x>": vectors_for(backbone)}
    (own,) = backbone.generate([TEXT], tokens, seeds=[3], steps=3, guidance=4.0)
    theirs = drawn_by_pipeline(backbone.pipeline(tokens), TEXT)
    assert np.abs(np.asarray(own, int) - theirs).max() <= 1 and theirs.std() > 5
    (without,) = backbone.generate(["a photo of a dog"], seeds=[3], steps=3, guidance=4.0)
    assert np.abs(np.asarray(without, int) - theirs).max() > 1


def test_the_pipeline_leaves_the_backbone_alone(backbone: Any) -> None:
    before = {e: backbone.embedding_table(e).clone() for e in backbone.encoders}
    sizes = [len(tokenizer) for tokenizer, _ in backbone.clips.values()]
    backbone.pipeline({"<x>": vectors_for(backbone, 2)})
    assert all(torch.equal(before[e], backbone.embedding_table(e)) for e in backbone.encoders)
    assert sizes == [len(tokenizer) for tokenizer, _ in backbone.clips.values()]


def test_a_flow_is_straight(backbone: Any) -> None:
    x_0, eps = torch.ones(2, 4, 16, 16), torch.full((2, 4, 16, 16), 3.0)
    x_t = backbone.add_noise(x_0, eps, torch.tensor([0, 250.0]))
    assert torch.equal(x_t[0], x_0[0]) and torch.allclose(x_t[1], torch.tensor(1.5))
    assert torch.equal(backbone.target(x_0, eps, torch.tensor([0, 250])), eps - x_0)


def test_times_are_shifted_as_the_scheduler_shifts_them(backbone: Any) -> None:
    places = torch.tensor([0, 250, 500, 999])
    scheduler = backbone.flow.scheduler()
    share = (places / 1000).numpy()
    if scheduler.config.use_dynamic_shifting:
        mu = 0.5 + (1.15 - 0.5) * (64 - 256) / (4096 - 256)
        expected = np.append(0.0, scheduler.time_shift(mu, 1.0, share[1:]))
    else:
        expected = scheduler.shift * share / (1 + (scheduler.shift - 1) * share)
    assert torch.allclose(times(backbone, places), torch.tensor(expected, dtype=torch.float32) * 1000, atol=1e-2)


def test_a_backbone_without_times_keeps_the_even_schedule() -> None:
    places = torch.tensor([1, 2])
    assert times(SimpleNamespace(), places) is places  # type: ignore[arg-type]


def test_positions_are_those_that_the_picture_attends_to(backbone: Any) -> None:
    prompt = backbone.tokenize(TEXT, {"<x>": 0})
    states = backbone.encode_prompts([prompt], vectors_for(backbone)).states
    other = {e: -v for e, v in vectors_for(backbone).items()}
    changed = backbone.encode_prompts([prompt], other).states
    moved = (states - changed).abs().amax(dim=(0, 2))
    if backbone.encoders == ("t5",):
        assert int(moved.argmax()) == prompt.positions(0)[0]
    assert not moved[: prompt.positions(0)[0]].any() or backbone.encoders == ("t5",), "CLIP looks back only"
    assert float(moved[prompt.positions(0)[0]]) > 0 and prompt.ending > prompt.positions(0)[0]


def test_long_text_is_refused(backbone: Any) -> None:
    if backbone.text.t5 is None:
        pytest.skip("a model without T5")
    with pytest.raises(StageInputError, match=r"the text has 40 tokens but T5 reads at most 31 here; shorten"):
        backbone.tokenize("a " * 40)


def test_the_gradient_reaches_the_vectors_alone(backbone: Any) -> None:
    vectors = {e: v.requires_grad_() for e, v in vectors_for(backbone).items()}
    conditioning = backbone.encode_prompts([backbone.tokenize(TEXT, {"<x>": 0})], vectors)
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    backbone.predict(noisy, torch.tensor([300.0]), conditioning).square().mean().backward()
    assert all(float(vector.grad.abs().max()) > 0 for vector in vectors.values())
    assert not any(weight.grad is not None for weight in backbone.transformer.parameters())


def test_bfloat16_is_near_float32(folder: Path, backbone: Any) -> None:
    half = load(folder, "bfloat16")
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found = [
        one.predict(noisy, torch.tensor([300]), one.encode_prompts([one.tokenize("a cat")])) for one in (half, backbone)
    ]
    assert found[0].dtype is torch.float32
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.1


def test_lora_has_the_names_and_the_effect_that_diffusers_gives_it(backbone: Any) -> None:
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    conditioning = backbone.encode_prompts([backbone.tokenize("a cat")])

    def predict() -> Tensor:
        with torch.no_grad():
            found: Tensor = backbone.predict(noisy, torch.tensor([300]), conditioning)
        return found

    before = predict()
    with backbone.train_weights(Tuning("lora", backbone.attention_modules, rank=2, alpha=2.0)) as trained:
        assert torch.allclose(predict(), before, atol=1e-6)
        with torch.no_grad():
            for value in trained.parameters.values():
                value.add_(0.1)
        tuned, weights = predict(), trained.export()
    assert torch.equal(predict(), before) and not torch.allclose(tuned, before, atol=1e-3)
    assert all(
        name.startswith("transformer.") and name.endswith(("lora_A.weight", "lora_B.weight")) for name in weights
    )
    with backbone.use_weights(weights):
        assert torch.allclose(predict(), tuned, atol=1e-5)
        (own,) = backbone.generate(["a cat"], seeds=[3], steps=3, guidance=4.0)
    theirs = drawn_by_pipeline(backbone.pipeline(None, weights), "a cat")
    assert np.abs(np.asarray(own, int) - theirs).max() <= 1
    assert torch.equal(predict(), before)


def test_weights_of_a_unet_are_refused(backbone: Any) -> None:
    wrong = {"unet.mid.lora.up.weight": torch.zeros(2, 2)}
    with (
        pytest.raises(ModelError, match=r"unet.mid\S+ does not fit model .*, which is a transformer"),
        backbone.use_weights(wrong),
    ):
        pass


def test_samplers_for_noise_predictors_are_refused(backbone: Any) -> None:
    with pytest.raises(ConfigError, match=r"scheduler 'ddim' is for models that predict noise.*allowed: euler"):
        backbone.generate(["a cat"], seeds=[0], steps=1, scheduler="ddim")


def test_a_negative_text_where_there_is_guidance_away_from_it(backbone: Any) -> None:
    if backbone.takes_negative:
        one, two = (backbone.generate(["a cat"], seeds=[0], steps=2, negative=text)[0] for text in ("", "red cup"))
        assert np.abs(np.asarray(one, int) - np.asarray(two, int)).max() > 1
        return
    with pytest.raises(StageInputError, match="guided by a number that it reads, not away from a text"):
        backbone.generate(["a cat"], seeds=[0], steps=1, negative="red cup")


@pytest.mark.parametrize("carriers", [["t5_out"], ["t5"], ["clip_l"], ["clip_l", "t5_out"]])
def test_vectors_live_where_they_are_told_to(folder: Path, carriers: list[str]) -> None:
    """Every carrier, in T5's input or output or in CLIP, draws what the pipeline with the same tokens draws."""
    if "without" in folder.name and carriers != ["clip_l"]:
        with pytest.raises(ModelError, match=r"model.carriers .* choose among clip_l, clip_g, each once"):
            load(folder, carriers=carriers)
        return
    one = load(folder, carriers=carriers)
    assert one.encoders == tuple(carriers)
    tokens = {"<x>": vectors_for(one)}
    (own,) = one.generate([TEXT], tokens, seeds=[3], steps=3, guidance=4.0)
    theirs = drawn_by_pipeline(one.pipeline(tokens), TEXT)
    assert np.abs(np.asarray(own, int) - theirs).max() <= 1


def test_with_vectors_at_its_output_t5_need_not_stay(folder: Path) -> None:
    if "without" in folder.name:
        pytest.skip("a model without T5")
    one = load(folder, carriers=["t5_out"])
    vector = vectors_for(one)["t5_out"].requires_grad_()
    assert one.embedding_table("t5_out").shape == (len(one.text.t5.tokenizer) + 28, vector.shape[1])
    prompt = one.tokenize(TEXT, {"<x>": 0})
    conditioning = one.encode_prompts([prompt], {"t5_out": vector})
    one.predict(torch.zeros(1, 4, 16, 16), torch.tensor([100]), conditioning)
    assert one.text.t5._encoder is None
    place = prompt.positions(0)[0]
    assert torch.equal(conditioning.states[0, place, : vector.shape[1]], vector[0])
    again = one.encode_prompts([one.tokenize(TEXT, {"<x>": 0})], {"t5_out": vector})
    assert torch.equal(again.states, conditioning.states) and one.text.t5._encoder is None, "the text is known"


def test_sizes_that_do_not_fit_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"model.side must be a multiple of 8 for model .*, found 68"):
        load(folder, side=68)


# What lies on disk.


def moved(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_shards_and_variants(tmp_path: Path, tiny_flux: Path) -> None:
    whole = load(tiny_flux)
    copy = moved(tiny_flux, tmp_path / "model")
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    path.unlink()
    names = sorted(tensors)
    shards = (names[::2], names[1::2])
    files = [f"diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for file, part in zip(files, shards, strict=True):
        save_file({name: tensors[name] for name in part}, path.parent / file, {"format": "pt"})
    index = {"weight_map": {name: file for file, part in zip(files, shards, strict=True) for name in part}}
    (path.parent / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, **index})
    )
    found = load(copy, variant="fp16")  # of which only the transformer has one
    for name, value in whole.transformer.state_dict().items():
        assert torch.equal(value, found.transformer.state_dict()[name])


@pytest.mark.parametrize("part", ["transformer", "text_encoder_2", "tokenizer_2", "vae"])
def test_a_missing_part_is_named(tmp_path: Path, tiny_flux: Path, part: str) -> None:
    copy = moved(tiny_flux, tmp_path / "model")
    shutil.rmtree(copy / part)
    with pytest.raises(ModelError, match=rf"model .*{part}"):
        load(copy)


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("PixArtSigmaPipeline", "PixArt-Sigma"),
        ("SanaPipeline", "Sana"),
        ("ZImagePipeline", "Z-Image"),
        ("QwenImagePipeline", "Qwen-Image"),
        ("Flux2Pipeline", r"FLUX\.2"),
    ],
)
def test_the_rest_of_the_family_is_refused_by_name(tmp_path: Path, pipeline: str, words: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    with pytest.raises(ModelError, match=f"is {words}, which cannot be used: uce works with .* FLUX.1"):
        load(tmp_path)


def test_gguf_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "flux1-dev-Q4_0.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"is a GGUF file, whose rounded weights cannot be learned with; give"):
        load(path)


@pytest.mark.parametrize("kind", ["flux", "sd3"])
def test_a_transformer_as_one_file(tmp_path: Path, tiny_flux: Path, tiny_sd3: Path, kind: str) -> None:
    """In diffusers' names, half of it in fp8 as people have it; text encoders and VAE lie elsewhere."""
    folder = {"flux": tiny_flux, "sd3": tiny_sd3}[kind]
    tensors = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    wanted = {
        name: value.to(torch.float8_e4m3fn).float() if name.endswith("ff.net.2.weight") else value
        for name, value in tensors.items()
    }
    stored = {n: v.to(torch.float8_e4m3fn) if n.endswith("ff.net.2.weight") else v for n, v in tensors.items()}
    file = tmp_path / "transformer.safetensors"
    save_file(stored, file)
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    one = load(file, text_encoders=str(folder), vae=str(vae))
    for name, value in one.transformer.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    assert one.transformer.config.num_attention_heads == 2 and "transformer" in one.description
    noisy = torch.zeros(1, 4, 16, 16)
    assert torch.isfinite(one.predict(noisy, torch.tensor([100]), one.encode_prompts([one.tokenize("a cat")]))).all()


def test_a_transformer_alone_says_what_else_it_needs(tmp_path: Path, tiny_flux: Path) -> None:
    file = Path(
        shutil.copy(tiny_flux / "transformer" / "diffusion_pytorch_model.safetensors", tmp_path / "f.safetensors")
    )
    with pytest.raises(
        ModelError,
        match=r"a FLUX.1 transformer alone, without text encoders and VAE; say where they are with "
        r"--set model.text_encoders=FOLDER and --set model.vae=FILE",
    ):
        load(file)


def test_the_original_layout_of_flux_has_the_real_shape() -> None:
    """flux1-dev.safetensors by names and shapes alone: what is read off them is diffusers' own configuration."""
    from diffusers import FluxTransformer2DModel

    from uce.plugins.backbones._flux.backbone import LAYOUT
    from uce.plugins.backbones._transformer import single_file

    tensors = _flux_original(double=2, single=2)
    found = single_file._converted(tensors, LAYOUT)
    shape = single_file._flux_shape(found)
    assert shape == {
        "in_channels": 64, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 128,
        "num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
        "guidance_embeds": True, "axes_dims_rope": (16, 56, 56),
    }  # fmt: skip
    with torch.device("meta"):
        expected = FluxTransformer2DModel(**shape).state_dict()
    assert {name: value.shape for name, value in found.items()} == {n: v.shape for n, v in expected.items()}


def _flux_original(double: int, single: int) -> dict[str, Tensor]:
    """Names and shapes of FLUX.1 dev's own file with fewer blocks, on no device."""
    width, mlp = 3072, 12288
    shapes: dict[str, tuple[int, ...]] = {"img_in": (width, 64), "txt_in": (width, 4096)}
    for name, inputs in (("time_in", 256), ("guidance_in", 256), ("vector_in", 768)):
        shapes |= {f"{name}.in_layer": (width, inputs), f"{name}.out_layer": (width, width)}
    scales = {}
    for i in range(double):
        for side in ("img", "txt"):
            block = f"double_blocks.{i}.{side}"
            shapes |= {
                f"{block}_mod.lin": (6 * width, width),
                f"{block}_attn.qkv": (3 * width, width),
                f"{block}_attn.proj": (width, width),
                f"{block}_mlp.0": (mlp, width),
                f"{block}_mlp.2": (width, mlp),
            }
            scales |= {f"{block}_attn.norm.{n}_norm.scale": (128,) for n in ("query", "key")}
    for i in range(single):
        block = f"single_blocks.{i}"
        shapes |= {
            f"{block}.linear1": (3 * width + mlp, width),
            f"{block}.linear2": (width, width + mlp),
            f"{block}.modulation.lin": (3 * width, width),
        }
        scales |= {f"{block}.norm.{n}_norm.scale": (128,) for n in ("query", "key")}
    shapes |= {"final_layer.linear": (64, width), "final_layer.adaLN_modulation.1": (2 * width, width)}
    tensors = {f"{name}.weight": torch.empty(shape, device="meta") for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": torch.empty(shape[:1], device="meta") for name, shape in shapes.items()}
    return tensors | {name: torch.empty(shape, device="meta") for name, shape in scales.items()}


def test_the_number_of_cells_sets_the_shift_of_flux() -> None:
    from uce.plugins.backbones._transformer.flow import Flow

    flow = Flow({"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15})
    for cells, mu in ((256, 0.5), (4096, 1.15)):
        assert float(flow.times(torch.tensor([500]), cells)) == pytest.approx(1000 * math.exp(mu) / (1 + math.exp(mu)))


def test_the_noise_of_seg4diff_is_that_of_its_step() -> None:
    """Their code takes the eighth of 28 times from the end, on Stable Diffusion 3's own scheduler."""
    from uce.core.config.presets import PRESETS
    from uce.plugins.backbones._transformer.flow import Flow

    times_of_sampling = Flow({"shift": 3.0}).sampler(28, 4096, "cpu", even=False).timesteps
    assert PRESETS["seg4diff"]["extractor"]["time"] == pytest.approx(float(times_of_sampling[-8]) / 1000, abs=5e-4)


def test_contract(folder: Path, backbone: Any) -> None:
    of_flux = type(backbone).__name__.startswith("Flux")
    check_plugin(FluxBackbonePlugin if of_flux else StableDiffusion3BackbonePlugin, model=str(folder))
