"""Maps of transformers, and the extractors that come upon one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_transformers import load

from uce.core import Capture, Context, StageInputError
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.extractors.features import FeaturesExtractor
from uce.plugins.extractors.joint_attention import JointAttentionExtractor
from uce.plugins.extractors.multi_step import MultiStepExtractor
from uce.plugins.extractors.self_attention import SelfAttentionExtractor
from uce.testing import check_plugin


@pytest.fixture(scope="module", params=["tiny_flux", "tiny_sd3"])
def backbone(request: pytest.FixtureRequest) -> Any:
    folder: Path = request.getfixturevalue(request.param)
    return load(folder)


@pytest.fixture
def picture() -> Picture:
    return read_picture(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8), 64, "pad")


def extract(backbone: Any, picture: Picture, plugin: Any = None, seed: int = 0, **settings: Any) -> Any:
    plugin = plugin or JointAttentionExtractor()
    context = Context(seed=seed, stage="extractor")
    return plugin.uce_extract_attention(backbone, picture, plugin.Settings(**settings), context)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"blocks": [0, 3], "time": 0},
        {"path": "text", "blocks": [1]},
        {"read": "outputs", "blocks": [0, 1]},
        {"reference": 2, "time": 150, "noise_samples": 1},
        {"saliency": "end", "normalize": "end"},
    ],
)
def test_maps_are_distributions_on_the_grid_of_packed_cells(
    backbone: Any, picture: Picture, settings: dict[str, Any]
) -> None:
    maps = extract(backbone, picture, **settings)
    assert maps.grid == (8, 8) and maps.affinity.shape == (64, 64)
    assert torch.allclose(maps.affinity.sum(dim=1), torch.ones(64), atol=1e-5)
    assert float(maps.saliency.min()) == 0 and float(maps.saliency.max()) == 1
    assert torch.equal(maps.affinity, extract(backbone, picture, **settings).affinity), "the same run, the same bytes"


def test_one_block_without_noise_is_that_blocks_own_map(backbone: Any, picture: Picture) -> None:
    maps = extract(backbone, picture, blocks=[1], time=0)
    latents = backbone.encode_image(picture.at(64).pixels[None])
    with torch.no_grad(), backbone.capture(Capture("self", layers=(backbone.joint_layers[1],))) as found:
        backbone.predict(latents, torch.zeros(1), backbone.encode_prompts([backbone.tokenize("")]))
    rows = found[0].probs[0]
    assert torch.allclose(maps.affinity, rows / rows.sum(dim=1, keepdim=True), atol=1e-6)


def test_noise_comes_from_the_runs_seed(backbone: Any, picture: Picture) -> None:
    assert not torch.equal(extract(backbone, picture).affinity, extract(backbone, picture, seed=1).affinity)


def test_self_attention_gives_way_on_a_transformer(
    backbone: Any, picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("uce").propagate = True
    caplog.set_level("INFO", logger="uce")
    found = extract(backbone, picture, SelfAttentionExtractor(), timestep=100, cells=32)
    assert torch.equal(found.affinity, extract(backbone, picture).affinity)
    assert "joint-attention reads its maps, with its own settings" in caplog.text


def test_other_extractors_read_transformers_too(backbone: Any, picture: Picture) -> None:
    features = extract(backbone, picture, FeaturesExtractor(), block=3)
    assert features.grid == (8, 8)
    default = extract(backbone, picture, FeaturesExtractor())
    assert torch.equal(default.affinity, extract(backbone, picture, FeaturesExtractor(), block=2).affinity)
    assert extract(backbone, picture, MultiStepExtractor(), timesteps=[0.1]).grid == (8, 8)


def test_of_a_unet_self_attention_is_read(tiny_backbone: Any, picture: Picture) -> None:
    found = extract(tiny_backbone, picture, time=100, noise_samples=2)
    own = extract(tiny_backbone, picture, SelfAttentionExtractor(), timestep=100, noise_samples=2, normalize="layers")
    assert torch.equal(found.affinity, own.affinity) and torch.equal(found.saliency, own.saliency)


def test_what_is_not_there_is_refused(tiny_backbone: Any, picture: Picture) -> None:
    with pytest.raises(StageInputError, match="has no layers in which text and picture attend together; choose"):
        extract(tiny_backbone, picture, blocks=[3])
    with pytest.raises(StageInputError, match=r"extractor.time must be below 1000 for this model, found 2000"):
        extract(FakeJoint(), picture, time=2000)


def test_contract() -> None:
    check_plugin(JointAttentionExtractor)


class FakeJoint:
    joint_layers, num_timesteps, model = ("a",), 1000, "fake"
