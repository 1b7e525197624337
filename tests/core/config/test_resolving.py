"""Layers of configuration: later wins, wrong keys and values are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

import uce
from uce.core.config.presets import PRESETS
from uce.core.config.resolving import load_config_file, resolve_config
from uce.core.errors import ConfigError, PluginError
from uce.core.flow.configuration import Config
from uce.core.flow.plugin_info import Candidate
from uce.core.flow.stages import SINGLE_STAGES
from uce.core.registry.manager import load_manager


def resolve(**arguments: Any) -> Config:
    return resolve_config(load_manager(), **arguments)


def test_fixed_names_and_the_papers_numbers() -> None:
    config = resolve(preset="paper").to_dict()
    assert config["optimizer"]["steps"] == 500
    assert config["optimizer"]["merge_step"] == 100
    assert config["optimizer"]["learning_rate"] == 5e-4
    assert config["optimizer"]["attention_weight"] == 1e-5
    assert config["optimizer"]["schedule"] == "paper"
    assert config["initializer"] == {"plugin": "split-merge", "split_tokens": 5, "vectors": 1}
    assert config["refiner"]["chain"] == ["saliency", "merge"]
    assert config["run"]["fit"] == "stretch"
    assert {"seed", "checkpoint_every", "threads", "micro_batch", "fit"} <= set(config["run"])
    assert {"revision", "variant", "offload"} <= set(config["model"])


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_resolve_and_repeat_themselves(preset: str) -> None:
    config = resolve(preset=preset)
    again = resolve(document=yaml.safe_load(config.to_yaml()))
    assert again.to_dict() == config.to_dict()


def test_later_layers_win() -> None:
    document = {"optimizer": {"steps": 7}, "run": {"seed": 1}}
    config = resolve(document=document, values={"run.seed": 2}, assignments=["optimizer.steps=9", "run.seed=3"])
    assert config.optimizer.settings.model_dump()["steps"] == 9
    assert config.run.seed == 3


def test_naming_what_the_base_has_keeps_its_settings() -> None:
    tuned = resolve().to_dict()
    for stage in SINGLE_STAGES:
        config = resolve(plugins={stage: tuned[stage]["plugin"]})
        assert config.to_dict() == tuned and config.note is None, stage
    assert tuned["extractor"] != resolve(preset="paper").to_dict()["extractor"], "or this would prove nothing"
    document = {"optimizer": {"plugin": "masked-denoising", "steps": 7}}
    assert resolve(document=document).to_dict()["optimizer"] == {**tuned["optimizer"], "steps": 7}
    chain = resolve(refiners=["saliency", "edges"])
    assert chain.to_dict()["refiner"]["edges"]["band"] == tuned["refiner"]["edges"]["band"] == 2.0


def test_naming_another_plugin_means_its_own_defaults_and_that_is_said() -> None:
    paper = resolve(preset="paper").to_dict()
    named = resolve(preset="default", plugins={"clusterer": "finch"})
    assert named.to_dict()["clusterer"] == paper["clusterer"]
    assert named.note is None, "the preset sets nothing of its clusterer"
    other = resolve(plugins={"optimizer": "textual-inversion"})
    assert other.note == (
        "settings dropped with their plugins: optimizer masked-denoising (schedule, steps, merge_step and 10 more)"
    )
    assert resolve(document={"optimizer": {"plugin": "textual-inversion"}}).note == other.note
    assert resolve(refiners=["saliency"]).note == "settings dropped with their plugins: refiner edges (band)"
    assert resolve(plugins={"clusterer": "given"}).note == "settings dropped with their plugins: refiner edges (band)"
    back = resolve(document={"optimizer": "textual-inversion"}, plugins={"optimizer": "masked-denoising"})
    assert back.to_dict()["optimizer"] == paper["optimizer"] and back.note == other.note


@pytest.mark.parametrize("given", [["+", "edges"], "+edges", ["+edges"]])
def test_a_chain_with_a_plus_in_front_is_appended(given: Any) -> None:
    config = resolve(preset="paper", document={"refiner": {"saliency": {"threshold": 0.7}}}, refiners=given)
    assert config.to_dict()["refiner"]["chain"] == ["saliency", "merge", "edges"]
    assert config.to_dict()["refiner"]["saliency"]["threshold"] == 0.7
    assert resolve(preset="paper", document={"refiner": given}).to_dict()["refiner"]["chain"][-1] == "edges"
    assert resolve(plugins={"clusterer": "given"}, refiners=given).to_dict()["refiner"]["chain"] == ["none", "edges"]
    document = {"clusterer": "given", "refiner": given}
    again = resolve(preset="paper", document=document, plugins={"clusterer": "finch"})
    assert again.to_dict()["refiner"]["chain"] == ["saliency", "merge", "edges"], "also where a chain comes back"


def test_a_chain_in_one_text() -> None:
    for refiner in ("saliency+merge", ["saliency+merge"], {"chain": "saliency+merge"}):
        assert resolve(document={"refiner": refiner}).to_dict()["refiner"]["chain"] == ["saliency", "merge"]
    with pytest.raises(ConfigError, match=r"refiner.chain must be a list of refiner names, found 'saliency\+\+merge'"):
        resolve(document={"refiner": "saliency++merge"})


def test_a_stored_configuration_stands_on_no_preset() -> None:
    """One that an earlier uce wrote lacks what came later: that is at the plugin's default, not at today's preset."""
    stored = resolve().to_dict()
    stored["run"] |= {"device": "cpu", "precision": "float32", "threads": 1}
    assert stored["extractor"].pop("cells") == 32
    assert resolve(document=stored).to_dict()["extractor"]["cells"] is None
    del stored["run"]["threads"]
    assert resolve(document=stored).to_dict()["extractor"]["cells"] == 32, "one that people wrote"


class Crooked:
    """A clusterer whose default its own settings do not allow."""

    name = "crooked"

    class Settings(uce.Settings):
        share: float = Field(2, le=1, description="a share")

    @uce.hookimpl
    def uce_cluster(self) -> None: ...


def test_a_default_that_a_plugin_does_not_allow_itself_is_the_plugins_fault() -> None:
    manager = load_manager()
    manager.register(Candidate("crooked", Crooked(), "crooked-things", "0.3", "installed"))
    text = r"the plugin 'crooked' \(crooked-things 0.3\) has a default that its own settings do not allow: " \
           r"clusterer.share: found 2, input should be less than or equal to 1; mend it there"  # fmt: skip
    with pytest.raises(PluginError, match=text):
        resolve_config(manager, plugins={"clusterer": "crooked"})
    with pytest.raises(ConfigError, match=r"clusterer.share: found 3, input should be"):
        resolve_config(manager, plugins={"clusterer": "crooked"}, assignments={"clusterer.share": 3})
    fine = resolve_config(manager, plugins={"clusterer": "crooked"}, assignments={"clusterer": {"share": 0.5}})
    assert fine.clusterer.settings.model_dump() == {"share": 0.5}


def test_refiner_chain_and_its_settings() -> None:
    config = resolve(refiners=["merge"], assignments=["refiner.merge.threshold=0.5"])
    assert [choice.plugin.name for choice in config.refiners] == ["merge"]
    assert config.to_dict()["refiner"]["merge"]["threshold"] == 0.5
    with pytest.raises(ConfigError, match=r"refiner.saliency: that refiner is not in the chain merge"):
        resolve(refiners=["merge"], assignments=["refiner.saliency.threshold=2"])


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("optimizer.step=5", r"unknown key 'optimizer.step'; available: .*Did you mean 'optimizer.steps'\?"),
        ("optimizer.steps=many", r"optimizer.steps: found 'many', input should be a valid integer"),
        ("optimizer.steps=-1", r"optimizer.steps: found -1, input should be greater than or equal to 0"),
        ("optimiser.steps=1", r"--set: unknown stage 'optimiser'; .*Did you mean 'optimizer'"),
        ("steps=1", r"write stage.key=value"),
        ("optimizer.steps", r"write stage.key=value"),
        ("refiner.threshold=1", r"a refiner's key is refiner.NAME.KEY"),
        ("refiner.nothing.threshold=1", r"unknown refiner 'nothing'"),
        ("run.fit=squash", r"run.fit: found 'squash', input should be 'crop', 'pad' or 'stretch'"),
        ("model.colour=1", r"unknown key 'model.colour'"),
        ("run.seed=[", r"not readable as YAML"),
    ],
)
def test_wrong_assignments(assignment: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        resolve(assignments=[assignment])


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"clusterers": {}}, r"config: unknown key 'clusterers'; .*Did you mean 'clusterer'"),
        ({"clusterer": 5}, r"clusterer must be a mapping"),
        ({"refiner": []}, r"refiner.chain must be a list of refiner names, found \[\]; write saliency\+merge"),
        ({"refiner": [3]}, r"refiner.chain must be a list of refiner names, found 3 in it"),
        ({"preset": "fast"}, r"unknown preset 'fast'; available: conceptattention, default"),
    ],
)
def test_wrong_documents(document: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        resolve(document=document)


def test_unknown_plugin_in_a_document_is_only_a_name() -> None:
    with pytest.raises(PluginError, match=r"unknown clusterer '/tmp/evil\.py'"):
        resolve(document={"clusterer": "/tmp/evil.py"})


def test_config_file_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config_file(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="must be a mapping of stages, found list"):
        load_config_file(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_config_file(tmp_path / "bad.yaml")
    (tmp_path / "evil.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_config_file(tmp_path / "evil.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert load_config_file(tmp_path / "empty.yaml") == {}


def test_a_clusterer_may_ask_for_a_chain_unless_the_user_names_one() -> None:
    given = {"clusterer": "given"}

    def chain(**arguments: Any) -> list[str]:
        return list(resolve(**arguments).to_dict()["refiner"]["chain"])

    default = chain()
    assert chain(plugins=given) == ["none"]
    assert chain(document=given) == ["none"]
    assert chain(preset="paper", plugins=given) == ["none"]
    assert chain(plugins=given, refiners=["edges", "background"]) == ["edges", "background"]
    assert chain(document={"refiner": ["edges"], "clusterer": "given"}) == ["edges"], "whatever their order"
    assert chain(document={"refiner": ["merge"]}, plugins=given) == ["none"], "a later layer wins"
    assert chain(document=given, plugins={"clusterer": "finch"}) == default
    again = resolve(document=yaml.safe_load(resolve(plugins=given, refiners=["edges"]).to_yaml()))
    assert again.to_dict()["refiner"]["chain"] == ["edges"]
    with pytest.raises(ConfigError, match=r"refiner.saliency: that refiner is not in the chain none"):
        resolve(plugins=given, assignments=["refiner.saliency.threshold=1"])


def test_settings_of_the_presets_refiners_come_back_with_their_chain() -> None:
    config = resolve(document={"clusterer": "given"}, plugins={"clusterer": "finch"})
    assert config.to_dict() == resolve().to_dict() | {"clusterer": config.to_dict()["clusterer"]}
