"""The door: in whatever form things are given, behind it they have one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uce.core.config.options import Options, differences, require_same, usual_samples
from uce.core.config.resolving import resolve_config
from uce.core.errors import ConfigError, PluginError
from uce.core.flow.run_settings import RunSettings
from uce.core.registry.manager import load_manager
from uce.testing import tiny_backbone

TOY = str(Path(__file__).parents[2] / "toy_plugin.py")


def test_one_or_several_are_the_same() -> None:
    one = Options.of({"concepts": 2, "names": "cup, red hat", "plugin": TOY, "refiner": ["clean", "split"]})
    assert one.concepts == (2,) and one.names == ("cup", "red hat") and one.plugin == (TOY,)
    assert one.refiner == ("clean", "split") and one.no_plugin == ()
    assert Options.of({"concepts": range(2), "names": ["cup", "red hat"]}).concepts == (0, 1)


@pytest.mark.parametrize("chain", [None, "", [], ()])
def test_an_empty_chain_leaves_the_choice_to_the_configuration(chain: Any) -> None:
    assert Options(refiner=chain).refiner is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"clustrer": "x"}, "unknown option 'clustrer'; .*Did you mean 'clusterer'"),
        ({"clusterer": 3}, "clusterer must be a name, found 3; see uce plugins"),
        ({"preset": 3}, "preset must be a name, found 3$"),
        ({"concepts": [1, "2"]}, "concepts must be whole numbers, found '?2"),
        ({"concepts": True}, "concepts must be whole numbers, found [Tt]rue"),
        ({"names": [1]}, "names must be texts, found 1"),
        ({"model": 5}, "model must be a name, a path or a loaded backbone, found 5"),
        ({"backbone": None}, "unknown option 'backbone'"),
    ],
)
def test_what_cannot_be_is_refused_at_the_door(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Options.of(given)


def test_a_loaded_model_brings_its_device_and_precision() -> None:
    backbone: Any = tiny_backbone()
    found = Options.of({"model": backbone, "device": "auto"})
    assert (found.model, found.device, found.precision, found.backbone) == ("tiny", "cpu", "float32", backbone)
    text = "precision is 'float16', but the given model is loaded with 'float32'; leave it out"
    with pytest.raises(ConfigError, match=text):
        Options.of({"model": backbone, "precision": "float16"})


def test_what_is_given_wins_over_a_stored_configuration() -> None:
    manager = load_manager()
    stored = Options(seed=4, device="cpu", set={"run.samples": 3}).resolve(manager).to_dict()
    config = Options(seed=5).resolve(manager, base=stored)
    assert config.run.seed == 5 and config.run.samples == 3 and config.run.device == "cpu"


def test_a_stored_configuration_is_completed_with_what_came_later() -> None:
    manager = load_manager()
    whole = Options(device="cpu").resolve(manager).to_dict()
    older = {**whole, "run": {key: value for key, value in whole["run"].items() if key != "samples"}}
    assert Options().completed(manager, older) == whole
    wrong = {"clusterer": {"plugin": "gone"}}
    assert Options().completed(manager, wrong) == wrong


@pytest.mark.parametrize("body", [{}, {"steps": 3}])
def test_a_foreground_without_a_name_is_the_presets(body: dict[str, Any]) -> None:
    """A run of before that step has no such section; one whose section lost its plugin is no such run."""
    manager = load_manager()
    whole = Options(device="cpu").resolve(manager).to_dict()
    config = resolve_config(manager, document={**whole, "foreground": body})
    assert config.foreground.plugin.name == "salient" and config.to_dict()["foreground"].items() >= body.items()


def test_differences_are_named_by_section_and_key() -> None:
    before, now = {"run": {"seed": 1, "fit": "pad"}, "a": 1}, {"run": {"seed": 2, "fit": "pad"}, "b": {"c": 3}}
    assert differences(before, now) == [("a", 1, None), ("b.c", None, 3), ("run.seed", 1, 2)]
    assert differences(now, now) == []


def test_a_resumed_run_is_the_one_that_was_begun() -> None:
    manager = load_manager()
    config = Options(device="cpu").resolve(manager)
    require_same(config.to_dict(), config, Path("out"))
    other = Options(device="cpu", seed=7).resolve(manager)
    with pytest.raises(ConfigError, match=r"--resume: out was begun with run.seed=0, now 7; leave the setting out"):
        require_same(config.to_dict(), other, Path("out"))


def test_samples_are_as_usual_for_the_model_unless_somebody_said() -> None:
    usual = {"steps": 4, "guidance": 0.0, "more": 1}
    assert usual_samples(RunSettings(), usual) == {"sample_steps": 4, "guidance": 0.0}
    assert usual_samples(RunSettings(guidance=3.0), usual) == {"sample_steps": 4}
    assert usual_samples(RunSettings(), {}) == {}


def test_an_observer_without_a_hook_is_refused() -> None:
    with pytest.raises(PluginError, match="hook"):
        Options(observers=[SimpleNamespace()]).manager()
