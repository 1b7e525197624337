"""A third party's transformer in one file: PixArt-Sigma, tiny and random, through the example's own hook."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import _TINY_VAE, write_json
from PIL import Image
from tiny_transformers import write_t5

import uce
from uce.core import Capture

EXAMPLE = Path(__file__).parents[1] / "examples" / "pixart_sigma.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel

    folder = tmp_path_factory.mktemp("pixart") / "model"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        transformer = PixArtTransformer2DModel(
            sample_size=16, num_layers=2, num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=8,
            cross_attention_dim=32, caption_channels=32, use_additional_conditions=False,
        )  # fmt: skip
        with torch.no_grad():
            for name, weight in transformer.named_parameters():
                if name.endswith(("to_q.weight", "to_k.weight")):
                    weight.mul_(4)
        transformer.save_pretrained(folder / "transformer")
        AutoencoderKL(**_TINY_VAE).save_pretrained(folder / "vae")
        write_t5(folder / "text_encoder", folder / "tokenizer", 32)
    scheduler = {"_class_name": "DPMSolverMultistepScheduler", "beta_start": 0.0001, "beta_end": 0.02}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(
        folder / "model_index.json",
        {
            "_class_name": "PixArtSigmaPipeline",
            "transformer": ["diffusers", "PixArtTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5Tokenizer"],
        },
    )
    return folder


@pytest.fixture(scope="module")
def backbone(model: Path) -> Any:
    spec = importlib.util.spec_from_file_location("pixart_sigma", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plugin.uce_load_backbone(str(model), SimpleNamespace(), "cpu", "float32")


def test_maps_on_packed_cells_leave_the_prediction_as_it_is(backbone: Any) -> None:
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    conditioning = backbone.encode_prompts([backbone.tokenize("a cat")])
    with torch.no_grad():
        alone = backbone.predict(noisy, torch.tensor([300]), conditioning)
        with backbone.capture(Capture("self"), Capture("cross")) as maps:
            watched = backbone.predict(noisy, torch.tensor([300]), conditioning)
    assert torch.equal(alone, watched)
    assert [(layer.kind, layer.grid) for layer in maps] == [("self", (8, 8)), ("cross", (8, 8))] * 2
    assert all(torch.allclose(layer.probs.sum(-1), torch.ones(1, 64), atol=1e-5) for layer in maps)
    assert float(maps[1].probs[0, :, 3:].abs().max()) == 0, "padding is masked"


def test_pictures_equal_the_pipelines(backbone: Any) -> None:
    table = backbone.embedding_table("t5")
    tokens = {"<x>": {"t5": torch.randn(1, table.shape[1], generator=torch.Generator().manual_seed(1)) * 3}}
    (own,) = backbone.generate(["a <x> cat"], tokens, seeds=[5], steps=3)
    pipe = backbone.pipeline(tokens)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        "a <x> cat", num_inference_steps=3, guidance_scale=4.5, height=64, width=64, clean_caption=False,
        generator=torch.Generator().manual_seed(5), use_resolution_binning=False,
    ).images[0]  # fmt: skip
    assert np.abs(np.asarray(own, int) - np.asarray(theirs, int)).max() <= 1 and np.asarray(own).std() > 5


def test_a_run_with_it_learns_a_token(model: Path, tmp_path: Path) -> None:
    pixels = np.full((64, 64, 3), 220, np.uint8)
    pixels[8:40, 4:28] = (200, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "thing.png")
    run: Any = uce.run(
        tmp_path / "thing.png", out=tmp_path / "run", model=str(model), plugin=[str(EXAMPLE)], refiner="none",
        set=["optimizer.steps=1", "optimizer.merge_step=0", "run.sample_steps=1", "run.concepts=[0]"],
    )  # fmt: skip
    assert list(run.concepts[0].vectors) == ["t5"] and (tmp_path / "run" / "samples" / "asset0.png").is_file()
