"""The one list of stages: everybody who has one of their own has the same."""

from __future__ import annotations

from uce.core.config.options import Options
from uce.core.flow.stages import CHOOSABLE, SINGLE_STAGES, STAGES
from uce.core.hookspecs import STAGE_HOOKS
from uce.core.registry.manager import load_manager


def test_stages_are_in_the_order_in_which_they_work() -> None:
    assert list(STAGE_HOOKS) == list(STAGES)
    assert len(set(CHOOSABLE)) == len(CHOOSABLE) == len(STAGES) + 2


def test_every_stage_but_the_chain_has_one_plugin() -> None:
    assert set(STAGES) - set(SINGLE_STAGES) == {"refiner"}
    assert [stage for stage in STAGES if stage in SINGLE_STAGES] == list(SINGLE_STAGES)


def test_a_configuration_has_these_sections_and_no_other() -> None:
    document = Options(device="cpu").resolve(load_manager()).to_dict()
    assert set(document) == {*CHOOSABLE, "preset"}


def test_every_stage_has_a_built_in_plugin() -> None:
    manager = load_manager()
    assert all(manager.available(stage) for stage in STAGES)
