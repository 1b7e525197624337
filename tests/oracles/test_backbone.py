"""Attention, text states and predictions held to the reference implementation's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from uce.core.model.aggregate import aggregate_self_attention, mean_cross_attention, saliency_from
from uce.core.model.attention import attention_probabilities
from uce.core.model.backbone import LayerMap
from uce.core.model.unet_maps import end_of_text, read_maps

pytestmark = pytest.mark.oracle
RELATIVE = 1e-4


@pytest.fixture(scope="module")
def reference(oracles: Path, load_backbone: Callable[..., Any]) -> Any:
    return load_backbone(oracles / "tiny-sd")


@pytest.fixture(scope="module")
def steps(oracles: Path) -> dict[str, Tensor]:
    with np.load(oracles / "train" / "train_steps.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def assert_close(found: Tensor, expected: Tensor) -> None:
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error <= RELATIVE, f"off by {error:.2g} of the largest entry"


@pytest.mark.parametrize("name", ["agg_four_layers", "agg_sd21_layout", "agg_no_64", "agg_single_8", "agg_cur_step_2"])
def test_aggregate(oracles: Path, name: str) -> None:
    cases = json.loads((oracles / "functions" / "aggregation_cases.json").read_text())
    (case,) = (one for one in cases if one["name"] == name)
    with np.load(oracles / "functions" / f"{name}.npz") as file:
        maps = []
        for layer in case["layers"]:
            query, key = (torch.from_numpy(file[f"{kind}{layer['i']}"]).float()[None] for kind in "qk")
            probs = attention_probabilities(query, key, query.shape[-1] ** -0.5)
            maps.append(LayerMap(layer["location"], "self", (layer["res"], layer["res"]), layer["heads"], probs))
        found = aggregate_self_attention(maps, (64, 64)).numpy()
        np.testing.assert_allclose(found[file["rows"]], file["out_rows"], rtol=RELATIVE)
        np.testing.assert_allclose(found.sum(axis=1), file["row_sums"], rtol=RELATIVE)
        np.testing.assert_allclose(found.sum(axis=0), file["col_sums"], rtol=RELATIVE)
    for kind in ("mean", "std", "min", "max"):
        assert getattr(np, kind)(found) == pytest.approx(case["stats"][kind], rel=RELATIVE)


def test_cross_attention(oracles: Path) -> None:
    cases = json.loads((oracles / "functions" / "aggregation_cases.json").read_text())
    (case,) = (one for one in cases if one["name"] == "cross_agg")
    with np.load(oracles / "functions" / "cross_agg.npz") as file:
        maps = []
        for layer in case["layers"]:
            probs = torch.from_numpy(file[f"a{layer['i']}"]).float().mean(dim=0, keepdim=True)
            maps.append(LayerMap(layer["location"], "cross", (layer["res"], layer["res"]), layer["heads"], probs))
        outer = [one for one in maps if one.name != "mid"]
        assert_close(mean_cross_attention(outer, (16, 16))[0], torch.from_numpy(file["out"]))


def test_latents(reference: Any, steps: dict[str, Tensor]) -> None:
    pixels = steps["pixel_values_u8"].float()[None] / 127.5 - 1
    expected = steps["latent_mean"][:1] * reference.vae.config.scaling_factor
    assert_close(reference.encode_image(pixels), expected)


def test_localisation_pass(reference: Any, steps: dict[str, Tensor]) -> None:
    conditioning = reference.encode_prompts([reference.tokenize("")])
    assert_close(conditioning.states[0], steps["loc_encoder_hidden_states"])
    found = reference.predict(steps["loc_latents"], torch.zeros(2, dtype=torch.int64), conditioning)
    assert_close(found, steps["loc_unet_out"])


def test_end_of_text_map(reference: Any, steps: dict[str, Tensor]) -> None:
    """The reference doubles the batch; its map is the second half's."""
    with torch.no_grad():
        _, cross = read_maps(reference, steps["loc_latents"][1:], 0)
    found = end_of_text(cross, (64, 64), None)
    assert_close(found, steps["loc_eot"])


@pytest.mark.parametrize("name", ["toys", "bear"])
def test_enlarged_saliency(oracles: Path, name: str) -> None:
    with np.load(oracles / "open" / f"case_{name}.npz") as file:
        found = saliency_from(torch.from_numpy(file["eot"]), (64, 64))
        np.testing.assert_allclose(found.numpy(), file["eot64"], atol=RELATIVE)


@pytest.mark.parametrize("update", [0, 4, 15, 18])
def test_training_updates(oracles: Path, reference: Any, steps: dict[str, Tensor], update: int) -> None:
    told = json.loads((oracles / "train" / "train_steps.json").read_text())["updates"][update]
    placeholders = [value - 49408 for value in told["prompt_ids"] if value >= 49408]
    words = {f"<t{index}>": index for index in placeholders}
    prompt = reference.tokenize("a photo of " + " and ".join(words), words)
    assert prompt.end["clip"] == told["prompt_ids"].index(49407)
    assert prompt.slots["clip"].tolist() == [max(value - 49408, -1) for value in told["prompt_ids"]]
    conditioning = reference.encode_prompts([prompt], {"clip": steps["emb_before"][update]})
    assert_close(conditioning.states[0], steps[f"u{update}_ehs"])
    timesteps = steps[f"u{update}_timesteps"]
    noisy = reference.add_noise(steps["latents_scaled"], steps["noise"], timesteps)
    assert_close(noisy, steps[f"u{update}_noisy"])
    assert_close(reference.predict(noisy, timesteps, conditioning), steps[f"u{update}_unet_out"])
