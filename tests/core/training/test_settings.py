"""Settings as users type them become the training's options, number by number."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from uce.core.training.options import TrainingOptions
from uce.core.training.settings import DenoisingSettings


def test_the_defaults_are_those_of_the_options() -> None:
    assert DenoisingSettings().options() == TrainingOptions()


def test_every_setting_reaches_the_options() -> None:
    names = {field.name for field in dataclasses.fields(TrainingOptions)}
    assert set(DenoisingSettings.model_fields) == names - {"train_tokens"}
    found = DenoisingSettings(steps=3, zoom=0.5, template="{} here", timesteps="spread").options()
    assert (found.steps, found.zoom, found.template, found.timesteps) == (3, 0.5, "{} here", "spread")


def test_a_subclass_may_add_its_own() -> None:
    class Mine(DenoisingSettings):
        extra: int = 3

    assert Mine(extra=4, steps=2).options() == TrainingOptions(steps=2)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"learning_rate": 0}, {"flip": 1.5}, {"schedule": "fast"},
                                   {"template": "no place"}, {"noise_high": 0}])  # fmt: skip
def test_bad_values(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DenoisingSettings(**wrong)  # type: ignore[arg-type]
