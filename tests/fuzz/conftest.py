"""How many inputs: UCE_FUZZ=20000 pytest -m fuzz tests/fuzz shares them out over the readers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings

SHORT = 25
"""Inputs per reader in the normal suite."""
SHARE = {
    "pictures": 0.25,
    "set": 0.15,
    "config_files": 0.10,
    "run_folders": 0.15,
    "tokens": 0.15,
    "checkpoints": 0.05,
    "lists": 0.08,
    "names": 0.04,
    "model_folders": 0.01,
    "plugins": 0.02,
}
"""Of the long run's inputs; model folders take longest by far."""


def inputs(name: str) -> Callable[[Any], Any]:
    """Decorates a hypothesis test: as many inputs as this reader gets, no deadline of its own, no files of examples."""
    total = int(os.environ.get("UCE_FUZZ", "0"))
    count = max(SHORT if name != "model_folders" else 5, round(total * SHARE[name]))
    checks = [
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
    ]
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    limits = settings(max_examples=count, deadline=None, suppress_health_check=checks, database=None, phases=phases)

    def decorate(test: Any) -> Any:
        if not total:
            return seed(0)(limits(test))
        return pytest.mark.fuzz(seed(int(os.environ.get("UCE_FUZZ_SEED", "1")))(limits(test)))

    return decorate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The only place that may be written to."""
    return tmp_path
