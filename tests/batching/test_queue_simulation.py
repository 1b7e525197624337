"""The simulation of the queue agrees with what can be worked out by hand, and failures cost what they should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("simpy", reason="simpy is not installed: extra [dev]")


@pytest.fixture(scope="module")
def queue() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "queue_simulation.py"
    spec: Any = importlib.util.spec_from_file_location("queue_simulation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_one_worker_is_the_sum(queue: ModuleType) -> None:
    result = queue.simulate(queue.Facts([10.0], pictures=50, start=100, driver=0, mtbf=0), workers=1)
    assert result.hours * 3600 == pytest.approx(600) and result.busy == pytest.approx(500 / 600)


def test_pulling_is_what_a_heap_says_and_beats_pushing(queue: ModuleType) -> None:
    import random

    facts = queue.Facts([1.0, 5.0, 40.0], pictures=200, start=3, driver=0, mtbf=0)
    chance = random.Random(7)
    times = [chance.choice(facts.seconds) for _ in range(facts.pictures)]
    for workers in (2, 7, 30, 500):
        result = queue.simulate(facts, workers, seed=7)
        assert result.hours * 3600 == pytest.approx(facts.start + queue.shortest(times, workers))
        assert result.hours <= result.pushed_hours + 40 / 3600


def test_the_driver_bounds_what_many_workers_do(queue: ModuleType) -> None:
    result = queue.simulate(queue.Facts([10.0], pictures=2000, start=0, driver=0.5, mtbf=0), workers=1000)
    assert 3600 / 0.5 * 0.9 < result.per_hour < 3600 / 0.5


def test_deaths_cost_time_and_no_picture(queue: ModuleType) -> None:
    calm = queue.simulate(queue.Facts([10.0], pictures=500, start=5, driver=0, mtbf=0), workers=5)
    wild = queue.simulate(queue.Facts([10.0], pictures=500, start=5, driver=0, mtbf=50), workers=5)
    assert wild.deaths > 50 and wild.hours > calm.hours and 0 < wild.lost_s < wild.deaths * 10
    assert wild == queue.simulate(queue.Facts([10.0], pictures=500, start=5, driver=0, mtbf=50), workers=5)
