"""Several noise levels: the mean of single passes, with fresh noise or the picture's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from uce.core import Context, StageInputError
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.extractors.multi_step import MultiStepExtractor
from uce.plugins.extractors.self_attention import SelfAttentionExtractor
from uce.testing import check_plugin


@pytest.fixture
def picture() -> Picture:
    return read_picture(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8), 64, "pad")


def extract(backbone: Any, picture: Picture, plugin: Any = MultiStepExtractor, seed: int = 0, **settings: Any) -> Any:
    context = Context(seed=seed, stage="extractor")
    return plugin().uce_extract_attention(backbone, picture, plugin.Settings(**settings), context)


@pytest.mark.parametrize("noise", ["fresh", "inverted"])
def test_contract(noise: str) -> None:
    check_plugin(MultiStepExtractor, settings={"noise": noise, "inversion_steps": 10})


@pytest.mark.parametrize("normalize", ["end", "layers"])
def test_the_clean_latent_alone_is_what_self_attention_reads(tiny_backbone: Any, picture: Any, normalize: str) -> None:
    found = extract(tiny_backbone, picture, timesteps=[0], normalize=normalize)
    expected = extract(tiny_backbone, picture, SelfAttentionExtractor, normalize=normalize)
    assert torch.equal(found.affinity, expected.affinity) and torch.equal(found.saliency, expected.saliency)


def test_levels_are_averaged(tiny_backbone: Any, picture: Picture) -> None:
    single = [extract(tiny_backbone, picture, timesteps=[t]).affinity for t in (100, 400)]
    both = extract(tiny_backbone, picture, timesteps=[100, 400]).affinity
    torch.testing.assert_close(both, (single[0] + single[1]) / 2, rtol=1e-4, atol=1e-6)


def test_fractions_and_numbers_mean_the_same_levels(tiny_backbone: Any, picture: Picture) -> None:
    fractions, numbers = (extract(tiny_backbone, picture, timesteps=ts) for ts in ([0.1, 0.4], [100, 400]))
    assert torch.equal(fractions.affinity, numbers.affinity)


def test_fresh_noise_comes_from_the_seed_and_inverted_noise_from_the_picture(tiny_backbone: Any, picture: Any) -> None:
    fresh = [extract(tiny_backbone, picture, seed=seed, timesteps=[400]).affinity for seed in (0, 0, 1)]
    assert torch.equal(fresh[0], fresh[1]) and not torch.equal(fresh[0], fresh[2])
    own = [
        extract(tiny_backbone, picture, seed=seed, timesteps=[400], noise="inverted", inversion_steps=10).affinity
        for seed in (0, 1)
    ]
    assert torch.equal(*own) and not torch.equal(own[0], fresh[0])


def test_more_draws_are_averaged_and_cells_enlarge(tiny_backbone: Any, picture: Picture) -> None:
    one, two = (extract(tiny_backbone, picture, timesteps=[400], noise_samples=count).affinity for count in (1, 2))
    assert not torch.equal(one, two)
    assert extract(tiny_backbone, picture, timesteps=[0.1], cells=24).grid == (24, 24)


@pytest.mark.parametrize(("timesteps", "line"), [([0.1, 1000], "must be below 1000"), ([-0.1], "must not be negative")])
def test_levels_that_the_model_does_not_have(tiny_backbone: Any, picture: Any, timesteps: Any, line: str) -> None:
    with pytest.raises(StageInputError, match=f"extractor.timesteps {line}"):
        extract(tiny_backbone, picture, timesteps=timesteps)


def test_no_level_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        MultiStepExtractor.Settings(timesteps=[])


def test_own_size_reads_a_second_size_on_the_same_grid(tiny_backbone: Any, picture: Picture) -> None:
    large, both = (
        extract(tiny_backbone, picture, timesteps=[0.1], cells=24, own_size=choice) for choice in (False, True)
    )
    assert both.grid == large.grid == (24, 24) and not torch.allclose(both.affinity, large.affinity)
    assert torch.allclose(both.affinity.sum(dim=1), torch.ones(576), atol=1e-5)
    assert float(both.saliency.min()) == 0 and float(both.saliency.max()) == 1
