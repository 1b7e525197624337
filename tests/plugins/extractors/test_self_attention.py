from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from uce.core.errors import StageInputError
from uce.core.flow.context import Context
from uce.core.flow.data import AttentionMaps
from uce.core.flow.picture import Picture, read_picture
from uce.core.model.aggregate import aggregate_self_attention, mean_cross_attention, normalize_rows, saliency_from
from uce.core.model.backbone import Capture
from uce.core.model.unet_maps import end_of_text, read_maps
from uce.plugins.extractors.self_attention import SelfAttentionExtractor


@pytest.fixture(params=["tiny_backbone", "tiny_backbone_v"])
def backbone(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def picture() -> Picture:
    return read_picture(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8), 64, "pad")


def extract(backbone: Any, picture: Picture, seed: int = 0, **settings: Any) -> Any:
    plugin = SelfAttentionExtractor()
    context = Context(seed=seed, stage="extractor")
    return plugin.uce_extract_attention(
        backbone=backbone, image=picture, settings=plugin.Settings(**settings), context=context
    )


def test_defaults_are_the_papers() -> None:
    settings = SelfAttentionExtractor.Settings()
    assert (settings.timestep, settings.normalize, settings.cells) == (0, "end", None)
    assert (settings.queries, settings.own_size) == ("repeat", False)


def test_maps_are_a_grid_of_distributions(backbone: Any, picture: Picture) -> None:
    maps = extract(backbone, picture)
    assert maps.grid == (16, 16) and maps.affinity.shape == (256, 256) and maps.affinity.dtype is torch.float32
    assert float(maps.saliency.min()) == 0 and float(maps.saliency.max()) == 1
    assert not maps.affinity.requires_grad


def test_one_pass_at_timestep_zero_without_noise(backbone: Any, picture: Picture) -> None:
    """The same numbers, put together by hand from one captured pass."""
    prompt = backbone.tokenize("")
    conditioning = backbone.encode_prompts([prompt])
    with torch.no_grad(), backbone.capture(Capture("self"), Capture("cross")) as maps:
        backbone.predict(backbone.encode_image(picture.pixels[None]), torch.tensor([0]), conditioning)
    own = [one for one in maps if one.kind == "self"]
    cross = [one for one in maps if one.kind == "cross" and not one.name.startswith("mid")]
    found = extract(backbone, picture)
    expected = normalize_rows(aggregate_self_attention(own, (16, 16)))
    assert torch.allclose(found.affinity, expected, atol=1e-6)
    end = mean_cross_attention(cross, (4, 4))[0, :, :, 1]
    assert prompt.end["clip"] == 1
    assert torch.allclose(found.saliency, saliency_from(end, (16, 16)), atol=1e-5)


def test_a_coarse_model_sees_the_picture_enlarged(backbone: Any, picture: Picture) -> None:
    assert extract(backbone, picture, cells=24).grid == (24, 24)
    assert extract(backbone, picture, cells=8).grid == (16, 16), "never fewer cells than the model's own"


def test_own_size_averages_an_enlarged_picture_with_the_models_own(backbone: Any, picture: Picture) -> None:
    large, both = (extract(backbone, picture, cells=24, own_size=choice) for choice in (False, True))
    assert both.grid == (24, 24) and not torch.allclose(both.affinity, large.affinity)
    small = _on_grid(backbone, picture, (24, 24))
    assert torch.allclose(both.affinity, (large.affinity + small.affinity) / 2, atol=1e-6)
    summed = large.saliency + small.saliency
    assert torch.allclose(both.saliency, (summed - summed.min()) / (summed.max() - summed.min()), atol=1e-5)


def _on_grid(backbone: Any, picture: Picture, grid: tuple[int, int]) -> Any:
    """The maps of the picture at the model's own size, by hand from one captured pass."""
    with torch.no_grad():
        own, cross = read_maps(backbone, backbone.encode_image(picture.pixels[None]), 0)
    end = end_of_text(cross, grid, None)
    return AttentionMaps(
        affinity=normalize_rows(aggregate_self_attention(own, grid)), saliency=saliency_from(end, grid)
    )


def test_own_size_does_nothing_where_the_picture_is_not_enlarged(backbone: Any, picture: Picture) -> None:
    once, asked = (extract(backbone, picture, cells=16, own_size=choice) for choice in (False, True))
    assert torch.equal(once.affinity, asked.affinity) and torch.equal(once.saliency, asked.saliency)


def test_interpolated_queries_differ_and_stay_distributions(backbone: Any, picture: Picture) -> None:
    repeated, between = (extract(backbone, picture, queries=choice) for choice in ("repeat", "interpolate"))
    assert not torch.equal(repeated.affinity, between.affinity)
    assert torch.allclose(between.affinity.sum(dim=1), torch.ones(256), atol=1e-5)


def test_noise_comes_from_the_seed(backbone: Any, picture: Picture) -> None:
    first, again, other = (extract(backbone, picture, seed, timestep=200) for seed in (0, 0, 1))
    assert torch.equal(first.affinity, again.affinity) and not torch.equal(first.affinity, other.affinity)
    clean = [extract(backbone, picture, seed).affinity for seed in (0, 1)]
    assert torch.equal(*clean)


def test_noise_draws_are_averaged(backbone: Any, picture: Picture) -> None:
    one, several = (extract(backbone, picture, timestep=400, noise_samples=count) for count in (1, 3))
    assert not torch.equal(one.affinity, several.affinity)
    assert torch.allclose(several.affinity.sum(dim=1), torch.ones(256), atol=1e-5)


def test_layers_can_be_normalised_first(backbone: Any, picture: Picture) -> None:
    end, layers = (extract(backbone, picture, normalize=how).affinity for how in ("end", "layers"))
    assert not torch.allclose(end, layers, atol=1e-4)


def test_saliency_side(backbone: Any, picture: Picture) -> None:
    assert not torch.equal(extract(backbone, picture).saliency, extract(backbone, picture, saliency_side=8).saliency)


def test_the_nearest_side_serves_where_a_quarter_has_no_layers(backbone: Any) -> None:
    _, cross = read_maps(backbone, torch.zeros(1, 4, 16, 16), 0)
    without = [one for one in cross if one.grid != (4, 4)]
    assert end_of_text(without, (16, 16), None).shape == (8, 8)
    only_middle = [one for one in cross if one.name.startswith("mid")]
    assert end_of_text(only_middle, (16, 16), None).shape == (4, 4)
    with pytest.raises(StageInputError, match="no cross-attention layers to read saliency from"):
        end_of_text([], (16, 16), None)


def test_timesteps_beyond_the_schedule_are_refused(backbone: Any, picture: Picture) -> None:
    with pytest.raises(StageInputError, match=r"extractor.timestep must be below 1000 for this model, found 1000"):
        extract(backbone, picture, timestep=1000)


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match=r"extra_forbidden|Extra inputs"):
        SelfAttentionExtractor.Settings(steps=3)
