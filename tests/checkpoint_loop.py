"""A training that only takes up its state, for tests of checkpoints."""

from __future__ import annotations

from typing import Any

from uce.core.training.updates import UpdateLoop


class Loop(UpdateLoop):
    """Four updates, none of which happens."""

    terms = ("total",)
    total = 4  # type: ignore[assignment]

    def updates(self) -> Any:
        return iter(())

    def step(self, update: Any) -> Any:
        raise AssertionError
