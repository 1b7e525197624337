"""DDIM inversion from a backbone's own face, whatever it predicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uce.core.model.inversion import ddim_inversion, levels, split_prediction


@pytest.fixture(params=["tiny_backbone", "tiny_backbone_v"])
def backbone(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def draw(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("timestep", [0, 100, 900])
def test_a_perfect_prediction_gives_back_latent_and_noise(backbone: Any, timestep: int) -> None:
    x_0, eps, step = draw(0), draw(1), torch.full((1,), timestep)
    x_t, y = backbone.add_noise(x_0, eps, step), backbone.target(x_0, eps, step)
    found = split_prediction(backbone, x_t, y, timestep)
    torch.testing.assert_close(found, (x_0, eps), rtol=1e-3, atol=2e-3)


def test_models_that_predict_the_latent_are_understood(tiny_backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_backbone, "prediction", "sample")
    x_0, eps = draw(0), draw(1)
    x_t = tiny_backbone.add_noise(x_0, eps, torch.tensor([500]))
    torch.testing.assert_close(split_prediction(tiny_backbone, x_t, x_0, 500), (x_0, eps), rtol=1e-3, atol=1e-3)


def test_levels_are_those_of_the_schedule(backbone: Any) -> None:
    s, n, a, b = levels(backbone, 300)
    assert s**2 + n**2 == pytest.approx(1, abs=1e-5)
    assert (a, b) == pytest.approx((0, 1) if backbone.prediction == "epsilon" else (-n, s), abs=1e-6)


def test_sampling_leads_back_to_the_picture(backbone: Any) -> None:
    """Deterministic DDIM steps downwards undo the inversion, the better the finer the steps are."""
    latents, top = draw(0), 400
    conditioning = backbone.encode_prompts([backbone.tokenize("")])

    def error(steps: int) -> float:
        stride = 1000 // steps
        with torch.no_grad():
            x_t = ddim_inversion(backbone, latents, [top], steps)[top]
            for now in range(top, 0, -stride):
                y = backbone.predict(x_t, torch.full((1,), now), conditioning)
                x_0, eps = split_prediction(backbone, x_t, y, now)
                s, n, _, _ = levels(backbone, now - stride)
                x_t = s * x_0 + n * eps
        return float((x_t - latents).norm() / latents.norm())

    assert error(100) < error(10)
    assert error(100) < 0.2


def test_wanted_timesteps_are_stops_and_zero_is_the_picture(backbone: Any) -> None:
    with torch.no_grad():
        found = ddim_inversion(backbone, draw(0), [0, 123, 40], 20)
    assert list(found) == [0, 123, 40] and torch.equal(found[0], draw(0))
    assert not torch.equal(found[123], found[40])
