"""Timesteps as people write them."""

from __future__ import annotations

import pytest

from uce.core.errors import StageInputError
from uce.core.model.unet_maps import resolve_timestep
from uce.testing import tiny_backbone


@pytest.mark.parametrize(("value", "timestep"), [(0, 0), (0.1, 100), (0.57, 570), (0.9999, 999), (1, 1), (261, 261)])
def test_fractions_and_numbers(value: float, timestep: int) -> None:
    assert resolve_timestep(tiny_backbone(), value, "extractor.timestep") == timestep


@pytest.mark.parametrize(
    ("value", "line"),
    [(1000, r"extractor.timestep must be below 1000 for this model, found 1000"), (1.5, r"whole number, found 1.5")],
)
def test_others_are_refused(value: float, line: str) -> None:
    with pytest.raises(StageInputError, match=line):
        resolve_timestep(tiny_backbone(), value, "extractor.timestep")
