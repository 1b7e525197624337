"""Events are frozen, and every one has the observer hook of its name."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from uce.core.flow import events
from uce.core.flow.plugin_info import kebab
from uce.core.hookspecs import ObserverSpecs

KINDS = [kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__]
EVENTS = [kind for kind in KINDS if not issubclass(kind, BaseException)]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_is_frozen_and_has_its_hook(kind: type) -> None:
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(ObserverSpecs, "uce_" + kebab(kind.__name__).replace("-", "_"))
    assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}(")


def test_every_observer_hook_has_its_event() -> None:
    hooks = {name for name in vars(ObserverSpecs) if name.startswith("uce_")}
    assert hooks == {"uce_" + kebab(kind.__name__).replace("-", "_") for kind in EVENTS}
