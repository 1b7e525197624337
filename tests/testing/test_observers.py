"""Observers: each rule, with an observer that breaks it, and that every event is told."""

from __future__ import annotations

import random
from typing import Any

import pytest

import uce
from uce.core.hookspecs import ObserverSpecs
from uce.testing import ContractError, check_plugin

HOOKS = [name for name in vars(ObserverSpecs) if name.startswith("uce_")]


def observer(hook: str, hear: Any) -> type:
    def listen(self: Any, event: Any) -> None:
        hear(event)

    listen.__name__ = hook
    return type("Sample", (), {"__doc__": "A sample.", hook: uce.hookimpl(listen)})


@pytest.mark.parametrize("hook", HOOKS)
def test_every_event_is_told(hook: str) -> None:
    heard: list[Any] = []
    info = check_plugin(observer(hook, heard.append))
    assert heard and info.observes == (hook.removeprefix("uce_"),)
    assert len({type(event) for event in heard}) == 1


def test_runs_without_a_folder_a_picture_or_numbers_are_among_them() -> None:
    seen: list[Any] = []
    check_plugin(observer("uce_run_started", lambda event: seen.append((event.folder is None, event.image is None))))
    assert {(True, True), (True, False), (False, False)} <= set(seen)


@pytest.mark.parametrize(
    ("hook", "hear", "rule"),
    [
        ("uce_run_started", lambda event: event.folder / "x", "error style"),
        ("uce_step", lambda event: event.tokens(), "error style"),
        (
            "uce_stage_finished",
            lambda event: event.stage == "refiner" and event.result.maps.zero_(),
            "inputs unchanged",
        ),
        ("uce_step", lambda event: event.losses.update(total=0), "inputs unchanged"),
        ("uce_run_finished", lambda event: random.random(), "nothing global"),
    ],
)
def test_broken_observers(hook: str, hear: Any, rule: str) -> None:
    with pytest.raises(ContractError, match="breaks the rule") as caught:
        check_plugin(observer(hook, hear))
    assert caught.value.rule == rule, caught.value
    assert "told of" in caught.value.where
