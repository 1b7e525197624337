"""Affinity from decoder features: softmax of cosine similarities, read without changing the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from uce.core import Context, StageInputError
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.extractors.features import FeaturesExtractor, _affinity
from uce.plugins.extractors.self_attention import SelfAttentionExtractor
from uce.testing import check_plugin, tiny_picture
from uce.testing import tiny_backbone as without_diffusers


@pytest.fixture
def picture() -> Picture:
    return read_picture(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8), 64, "pad")


def extract(backbone: Any, picture: Picture, seed: int = 0, **settings: Any) -> Any:
    context = Context(seed=seed, stage="extractor")
    return FeaturesExtractor().uce_extract_attention(backbone, picture, FeaturesExtractor.Settings(**settings), context)


def test_contract() -> None:
    check_plugin(FeaturesExtractor)


def test_rows_are_softmaxes_of_cosine_similarities() -> None:
    features = torch.randn(1, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    cells = [features[0, :, i // 3, i % 3] for i in range(6)]
    similar = torch.stack([torch.stack([torch.cosine_similarity(a, b, dim=0) for b in cells]) for a in cells])
    torch.testing.assert_close(_affinity(features, (2, 3), 0.3), (similar / 0.3).softmax(dim=1))


def test_cells_of_one_kind_attend_to_each_other_wherever_they_lie() -> None:
    features = torch.zeros(1, 3, 4, 4)
    features[:, 0] = 1
    features[0, :2, 0, 0] = features[0, :2, 3, 3] = torch.tensor([0.0, 5.0])
    affinity = _affinity(features, (4, 4), 0.1)
    assert float(affinity[0, 15]) == pytest.approx(0.5, abs=1e-3) and float(affinity[0, 1]) < 1e-3
    assert float(affinity[5, 6]) == pytest.approx(1 / 14, abs=1e-3)


def test_coarse_features_are_enlarged_to_the_grid(tiny_backbone: Any, picture: Picture) -> None:
    for block in (0, 1, 2):
        maps = extract(tiny_backbone, picture, block=block)
        assert maps.grid == (16, 16) and maps.affinity.shape == (256, 256)
    assert extract(tiny_backbone, picture, cells=24).grid == (24, 24)


def test_saliency_is_that_of_the_same_pass(tiny_backbone: Any, picture: Picture) -> None:
    plugin = SelfAttentionExtractor()
    maps = plugin.uce_extract_attention(tiny_backbone, picture, plugin.Settings(), Context(seed=0, stage="extractor"))
    torch.testing.assert_close(extract(tiny_backbone, picture, timestep=0).saliency, maps.saliency)


def test_a_lower_temperature_attends_to_fewer_cells(tiny_backbone: Any, picture: Picture) -> None:
    sharp, soft = (extract(tiny_backbone, picture, temperature=t).affinity for t in (0.02, 0.5))
    assert float(sharp.max(dim=1).values.mean()) > float(soft.max(dim=1).values.mean())


def test_noise_comes_from_the_seed(tiny_backbone: Any, picture: Picture) -> None:
    maps = [extract(tiny_backbone, picture, seed, noise_samples=1).affinity for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])


def test_blocks_and_timesteps_that_the_model_does_not_have(tiny_backbone: Any, picture: Picture) -> None:
    with pytest.raises(StageInputError, match=r"no decoder block 3; it has 3, from 0"):
        extract(tiny_backbone, picture, block=3)
    with pytest.raises(StageInputError, match=r"extractor.timestep must be below 1000"):
        extract(tiny_backbone, picture, timestep=1000)


def test_a_backbone_that_shows_no_features_is_named() -> None:
    class Closed:
        model = "closed"

    with pytest.raises(StageInputError, match=r"model 'closed' does not show its features .* --extractor self-att"):
        extract(Closed(), tiny_picture())
    assert extract(without_diffusers(), tiny_picture()).grid == (8, 8)


def test_own_size_reads_a_second_size_on_the_same_grid(tiny_backbone: Any, picture: Picture) -> None:
    large, both = (extract(tiny_backbone, picture, cells=24, own_size=choice) for choice in (False, True))
    assert both.grid == large.grid == (24, 24) and not torch.allclose(both.affinity, large.affinity)
    assert torch.allclose(both.affinity.sum(dim=1), torch.ones(576), atol=1e-5)
    assert float(both.saliency.min()) == 0 and float(both.saliency.max()) == 1
