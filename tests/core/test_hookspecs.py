"""The menu of what can be extended: every hook is described, named for the project, and has its kind of call."""

from __future__ import annotations

import inspect

import pytest

from uce.core import hookspecs
from uce.core.flow.stages import STAGES

SPECS = [kind for name, kind in inspect.getmembers(hookspecs, inspect.isclass) if name.endswith("Specs")]
HOOKS = [(name, value) for kind in SPECS for name, value in vars(kind).items() if name.startswith("uce_")]


@pytest.mark.parametrize(("name", "hook"), HOOKS, ids=[name for name, _ in HOOKS])
def test_a_hook_is_described_and_first_come_or_for_all(name: str, hook: object) -> None:
    assert inspect.getdoc(hook)
    options = hook.uce_spec  # type: ignore[attr-defined]
    observed = name in vars(hookspecs.ObserverSpecs)
    assert options["firstresult"] is not observed and not options["historic"]


def test_what_is_selected_by_name_has_a_hook() -> None:
    names = {name for name, _ in HOOKS}
    assert set(hookspecs.SELECTED_HOOKS.values()) <= names
    assert list(hookspecs.STAGE_HOOKS) == list(STAGES)
    assert hookspecs.SELECTED_HOOKS.items() >= hookspecs.STAGE_HOOKS.items()


def test_the_stages_hooks_take_what_the_contract_says() -> None:
    found = {name: list(inspect.signature(hook).parameters)[1:] for name, hook in HOOKS}
    assert found["uce_extract_attention"] == ["backbone", "image", "settings", "context"]
    assert found["uce_cluster"] == ["attention", "image", "settings", "context"]
    assert found["uce_refine_masks"] == ["concepts", "attention", "image", "settings", "context"]
    assert found["uce_initialize_tokens"] == ["concepts", "backbone", "image", "settings", "context"]
    assert found["uce_optimize"] == ["plan", "concepts", "backbone", "image", "settings", "context"]
