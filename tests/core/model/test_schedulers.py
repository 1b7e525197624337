"""Samplers by short names, each on the noise schedule of the model."""

from __future__ import annotations

import pytest

from uce.core import ConfigError
from uce.core.model.schedulers import DEFAULT_SCHEDULER, SCHEDULERS, draws_noise, make_scheduler, require_scheduler

CONFIG = {
    "num_train_timesteps": 500,
    "beta_start": 0.001,
    "beta_end": 0.01,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": True,
    "solver_order": 3,
    "_class_name": "DDIMScheduler",
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_models_schedule_and_the_samplers_own_numbers(name: str) -> None:
    scheduler = make_scheduler(name, CONFIG)
    assert type(scheduler).__name__ == SCHEDULERS[name][0]
    assert scheduler.config.prediction_type == "v_prediction" and scheduler.config.num_train_timesteps == 500
    assert scheduler.config.beta_end == 0.01
    assert not scheduler.config.get("clip_sample", False) and scheduler.config.get("solver_order", 2) == 2
    for key, value in SCHEDULERS[name][1].items():
        assert scheduler.config[key] == value


def test_unknown_names_are_refused() -> None:
    assert require_scheduler(DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER
    with pytest.raises(ConfigError, match=r"unknown scheduler 'eulr'; available: .*Did you mean 'euler'"):
        require_scheduler("eulr")


@pytest.mark.parametrize(("name", "answer"), [("euler-a", True), ("ddpm", True), ("unipc", False)])
def test_who_draws_noise(name: str, answer: bool) -> None:
    assert draws_noise(make_scheduler(name, CONFIG)) is answer
