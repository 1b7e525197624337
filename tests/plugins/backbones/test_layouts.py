"""Every layout of `layout_cases`, built with small random weights and loaded, and the table of docs/models.md."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from layout_cases import CASES, Case, Material, table
from original_layout import original_layout, original_layout_xl

from uce.core import Tuning
from uce.core.errors import ModelError

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Configurations of small models, and their tensors in the original layout."""
    import test_sd_single_file as sd
    import test_sdxl_single_file as xl

    folder = tmp_path_factory.mktemp("small")
    sd_configs = sd.small_configs(folder / "sd")
    xl_configs = xl.small_configs(folder / "xl")
    tensors = {
        kind: original_layout(*sd.random_parts(sd_configs / kind), open_clip=kind != "sd15")
        for kind in ("sd15", "sd21-base")
    }
    tensors["sdxl"] = original_layout_xl(*xl.random_parts(xl_configs))
    return {"sd": sd_configs, "xl": xl_configs, "tensors": tensors}


@pytest.fixture
def material(
    small: dict[str, Any], tiny_pipeline: Path, tiny_pipeline_xl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Material:
    from uce.plugins.backbones._sd import loading, single_file
    from uce.plugins.backbones._sdxl import loading as xl_loading
    from uce.plugins.backbones._sdxl import single_file as xl_single_file

    for module in (single_file, loading):
        monkeypatch.setattr(module, "CONFIGS", small["sd"])
    for module in (xl_single_file, xl_loading):
        monkeypatch.setattr(module, "CONFIGS", small["xl"])
    return Material(tmp_path, small["tensors"], {"sd1": tiny_pipeline, "sdxl": tiny_pipeline_xl})


def load(path: Any, **settings: Any) -> Any:
    """Through both plugins, in the order in which they are asked."""
    from uce.plugins.backbones.stable_diffusion import StableDiffusionBackbonePlugin
    from uce.plugins.backbones.stable_diffusion_xl import StableDiffusionXLBackbonePlugin

    for plugin in (StableDiffusionXLBackbonePlugin(), StableDiffusionBackbonePlugin()):
        found = plugin.uce_load_backbone(str(path), SimpleNamespace(**settings), "cpu", "float32")
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.layout}")
def test_each_layout_has_its_result(case: Case, material: Material) -> None:
    path = case.build(material)
    settings = {
        key: str(material.folder / value) if isinstance(value, str) and value.startswith("./") else value
        for key, value in case.settings.items()
    }
    if case.refused:
        with pytest.raises(ModelError, match=re.escape(case.refused)) as raised:
            load(path, **settings)
        assert "\n" not in str(raised.value)
        return
    assert case.loads in load(path, **settings).description


def test_the_page_has_every_layout() -> None:
    """Write it with: python tests/plugins/backbones/test_layouts.py"""
    assert table() in PAGE.read_text(encoding="utf-8"), "docs/models.md is stale"


def test_a_layout_for_which_names_were_changed_gives_the_same_weights(material: Material) -> None:
    plain = load(material.save(material.tensors["sd15"], "plain.safetensors"))
    by_name = {case.layout: case for case in CASES if case.group == "Stable Diffusion 1.x file"}
    for layout in (
        "old merge, text encoder without text_model",
        "VAE attention named to_q",
        "text encoder under clip_l",
    ):
        other = load(by_name[layout].build(material))
        for part in ("unet", "vae", "text_encoder"):
            expected = getattr(plain, part).state_dict()
            found = getattr(other, part).state_dict()
            assert all(torch.equal(found[key], value) for key, value in expected.items()), (layout, part)


def test_scaled_weights_are_multiplied(material: Material) -> None:
    key = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    expected = load(material.save(material.tensors["sd15"], "plain.safetensors")).unet.state_dict()[key]
    for layout in ("float8 with scale_weight", "float8 with weight_scale"):
        (case,) = (case for case in CASES if case.layout == layout)
        found = load(case.build(material)).unet.state_dict()[key]
        assert torch.allclose(found, expected, rtol=0.07, atol=2e-3), "what float8 rounds, and no more"
        assert not torch.allclose(found * 4, expected, rtol=0.07, atol=2e-3)


def test_a_schedule_that_ends_in_noise_is_kept(material: Material) -> None:
    for layout in ("with a noise schedule that ends in pure noise", "keys v_pred and ztsnr"):
        case = next(case for case in CASES if case.layout == layout)
        assert load(case.build(material)).scheduler_config["rescale_betas_zero_snr"] is True
    plain = load(material.save(material.tensors["sd15"]))
    assert "rescale_betas_zero_snr" not in plain.scheduler_config


def test_another_vae_is_used_and_changes_the_fingerprint(material: Material) -> None:
    (case,) = (case for case in CASES if (case.group, case.layout) == ("model.vae", "file, as published"))
    path = case.build(material)
    given = load(path, vae=str(material.folder / "vae.safetensors"))
    whole = load(material.save(material.tensors["sd15"], "whole.safetensors"))
    expected = whole.vae.state_dict()
    assert all(torch.equal(value, expected[key] + 1) for key, value in given.vae.state_dict().items())
    over = load(material.folder / "whole.safetensors", vae=str(material.folder / "vae.safetensors"))
    assert len({whole.fingerprint, given.fingerprint, over.fingerprint}) == 3


def _lora(names: list[str], down: str, up: str, wide: int = 16) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"{name}{end}": torch.randn(*shape, generator=generator)
        for name in names
        for end, shape in ((down, (2, wide)), (up, (16, 2)))
    }


@pytest.mark.parametrize(
    ("name", "down", "up"),
    [
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", ".lora_A.weight", ".lora_B.weight"),
        (
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
            ".lora_down.weight",
            ".lora_up.weight",
        ),
    ],
    ids=["peft", "kohya"],
)
def test_a_lora_is_fused(material: Material, name: str, down: str, up: str) -> None:
    lora = _lora([name], down, up)
    if name.startswith("lora_unet"):
        lora[f"{name}.alpha"] = torch.tensor(1.0)
    path = material.save(lora, "lora.safetensors")
    plain = load(material.copy())
    fused = load(material.folder / "model", lora=str(path), lora_scale=0.5)
    key = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    change = fused.unet.state_dict()[key] - plain.unet.state_dict()[key]
    scale = 0.5 * (0.5 if name.startswith("lora_unet") else 1.0)  # kohya's alpha over its rank
    assert torch.allclose(change, scale * lora[name + up] @ lora[name + down], atol=1e-5)
    others = (k for k in plain.unet.state_dict() if k != key)
    assert all(torch.equal(fused.unet.state_dict()[k], plain.unet.state_dict()[k]) for k in others)
    assert fused.description.endswith("; with the LoRA lora.safetensors at 0.5")
    assert fused.fingerprint != plain.fingerprint
    assert not any(parameter.requires_grad for parameter in fused.unet.parameters())


def test_a_lora_beside_the_weights_does_what_a_fused_one_does(material: Material) -> None:
    layers = ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"]
    path = material.save(_lora(layers, ".lora_A.weight", ".lora_B.weight"), "lora.safetensors")
    plain = load(material.copy())
    fused, beside = (load(material.folder / "model", lora=str(path), lora_as=way) for way in ("fused", "adapter"))
    assert beside.description.endswith("; with the LoRA lora.safetensors at 1, beside its weights")
    weights, own = beside.unet.state_dict(), plain.unet.state_dict()
    assert list(weights) == list(own) and all(torch.equal(weights[name], own[name]) for name in own)

    def predict(backbone: Any) -> torch.Tensor:
        noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            states = backbone.encode_prompts([backbone.tokenize("a cat")])
            found: torch.Tensor = backbone.predict(noisy, torch.tensor([500]), states)
        return found

    assert torch.allclose(predict(beside), predict(fused), atol=1e-5)
    assert not torch.allclose(predict(beside), predict(plain), atol=1e-3)
    before = predict(beside)
    with beside.train_weights(Tuning(kind="lora", rank=2, seed=0)) as trained:
        assert torch.equal(predict(beside), before), "what is learned begins at nothing, on top of it"
        for value in trained.parameters.values():
            value.data += 0.1
        assert not torch.allclose(predict(beside), before, atol=1e-3)
    assert torch.equal(predict(beside), before)
    hooks = beside.pipeline().unet.get_submodule(layers[0].removeprefix("unet."))._forward_hooks
    assert len(hooks) == 1, "the pipeline of a run draws with it"


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        (_lora(["unet.mid_block.attentions.7.proj_in"], ".lora_A.weight", ".lora_B.weight"), "belongs to one family"),
        (
            _lora(
                ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"],
                ".lora_A.weight",
                ".lora_B.weight",
                wide=2048,
            ),
            "does not fit model .* belongs to one family",
        ),
        ({"decoder.mid_block.x": torch.zeros(1)}, "is a VAE alone; give a LoRA"),
        ({"x.hada_w1_a": torch.zeros(1)}, "LyCORIS.*: convert it to a plain LoRA"),
    ],
)
def test_what_is_no_fitting_lora_is_refused(material: Material, tensors: dict[str, Any], text: str) -> None:
    path = material.save(tensors, "lora.safetensors")
    with pytest.raises(ModelError, match=text):
        load(material.copy(), lora=str(path))


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("https://huggingface.co/org/name", ("org/name", None, None)),
        ("huggingface.co/org/name/", ("org/name", None, None)),
        ("https://huggingface.co/org/name/tree/fp16", ("org/name", "fp16", None)),
        ("https://hf.co/org/name/blob/main/a/b.safetensors?download=true", ("org/name", "main", "a/b.safetensors")),
        ("https://huggingface.co/org/name/resolve/v2/m.safetensors", ("org/name", "v2", "m.safetensors")),
    ],
)
def test_addresses_of_the_hub(address: str, asked: tuple[str, Any, Any]) -> None:
    from uce.plugins.backbones._sd.place import Repository, locate

    assert locate(address.partition("?")[0]) == Repository(*asked)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("https://huggingface.co/datasets/org/name", "is an address of the hub, but of no model"),
        ("https://huggingface.co/org/name/blob/main/m.ckpt", r"is the address of m\.ckpt, no \.safetensors file"),
        ("https://example.org/m.safetensors", r"is an address on the web; download the \.safetensors file and give"),
    ],
)
def test_other_addresses_are_refused(address: str, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        load(address)


def test_only_what_a_repository_has_is_fetched(tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[list[str]] = []
    names = [
        "model_index.json", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16-00001-of-00002.safetensors", "text_encoder/model.fp16-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.fp16.json",
    ]  # fmt: skip

    def fetch(repository: str, *, revision: Any, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tiny_pipeline)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **__: names)
    assert load("org/name") is not None
    weights = {name for name in asked[-1] if name.endswith(".safetensors")}
    assert weights == {names[1], names[3], names[5], names[6]}, "no pickle, and of each part one variant"
    assert names[7] in asked[-1]


def test_a_revision_that_is_not_cached_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no network")

    (tmp_path / "models--org--name" / "refs").mkdir(parents=True)
    (tmp_path / "models--org--name" / "refs" / "main").write_text("abc")
    (tmp_path / "models--org--name" / "snapshots" / "abc").mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("snapshot_download", "list_repo_files"):
        monkeypatch.setattr(huggingface_hub, name, offline)
    with pytest.raises(
        ModelError, match=r"revision 'v9' of hub model 'org/name' is not in the cache .*cached: abc, main"
    ):
        load("org/name", revision="v9")


@pytest.mark.parametrize("kind", ["sd15", "sd21-base", "sdxl"])
def test_names_are_those_of_diffusers_own_conversion(kind: str) -> None:
    """For the published shapes, without weights: an independent reading of the same layouts."""
    from accelerate import init_empty_weights
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from uce.plugins.backbones._sd import layout, single_file
    from uce.plugins.backbones._sdxl import single_file as xl

    folder = xl.CONFIGS if kind == "sdxl" else single_file.CONFIGS / kind
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
    both = ((unet, layout.unet_origins(unet), convert_ldm_unet_checkpoint),
            (vae, layout.vae_origins(vae), convert_ldm_vae_checkpoint))  # fmt: skip
    for module, origins, convert in both:
        numbers = {origin.names[0]: index for index, origin in enumerate(origins.values())}
        assert len(numbers) == len(origins)
        checkpoint = {name: torch.full((1, 1, 1, 1), float(index)) for name, index in numbers.items()}
        found = {key: int(value) for key, value in convert(dict(checkpoint), module.config).items()}
        assert found == {own: numbers[origin.names[0]] for own, origin in origins.items()}


def test_a_few_step_model_draws_in_few_steps(material: Material) -> None:
    loaded = load(material.save(material.tensors["sdxl"], "x_turbo.safetensors"))
    assert loaded.usual_drawing == {"steps": 8, "guidance": 1.0}
    assert load(material.save(material.tensors["sd15"], "lcm.safetensors")).usual_drawing["scheduler"] == "lcm"
    assert load(material.save(material.tensors["sd15"], "plain.safetensors")).usual_drawing == {}


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- layouts -->\n\n", "\n\n<!-- end -->"
    head, rest = page.split(begin, 1)
    PAGE.write_text(head + begin + table() + end + rest.split(end, 1)[1], encoding="utf-8")
