"""What people type after `--methods`, and what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uce.benchmarking.methods import TABLE, Method, parse_methods
from uce.core.config.resolving import resolve_config
from uce.core.errors import ConfigError, PluginError
from uce.core.registry.manager import load_manager


def test_known_names() -> None:
    found = parse_methods(["default paper", "random-masks"])
    assert found == [
        Method("default", {"preset": "default"}),
        Method("paper", {"preset": "paper"}),
        Method("random-masks", {"clusterer": "random-masks", "refiner": ["none"]}),
    ]


def test_a_method_of_ones_own() -> None:
    text = "bas=optimizer=masked-denoising,clusterer=hdbscan,optimizer.steps=50,refiner=saliency+merge,preset=paper"
    [method] = parse_methods([text])
    assert method.name == "bas"
    config = resolve_config(load_manager(), document=method.document)
    assert config.preset == "paper" and config.clusterer.plugin.name == "hdbscan"
    assert [choice.plugin.name for choice in config.refiners] == ["saliency", "merge"]
    assert config.optimizer.settings.model_dump()["steps"] == 50
    [method] = parse_methods(["strict=refiner.saliency.threshold=1.5"])
    config = resolve_config(load_manager(), document=method.document)
    assert config.refiners[0].settings.model_dump()["threshold"] == 1.5
    assert [choice.plugin.name for choice in config.refiners] == ["saliency", "merge", "split", "smooth", "edges"]


def test_a_file_of_methods(tmp_path: Path) -> None:
    file = tmp_path / "methods.yaml"
    file.write_text(
        "strict: {refiner: {chain: [saliency], saliency: {threshold: 1.5}}}\nbelow: {tokens-of: another-picture}\n"
    )
    assert [method.name for method in parse_methods([], file)] == ["strict", "below"]
    found = parse_methods(["paper", "below"], file)
    assert (found[1].name, found[1].base) == ("below", "paper")


def test_lower_bound_stands_on_another_method() -> None:
    assert parse_methods(["paper", "default", "lower-bound"])[2].base == "paper"
    [_, chosen] = parse_methods(["default", "low=tokens-of=another-picture,base=default"])
    assert chosen == Method("low", {}, "default")
    with pytest.raises(ConfigError, match="shows another picture's tokens of 'default', which is not among"):
        parse_methods(["lower-bound"])


@pytest.mark.parametrize("name", [name for name in TABLE if name != "lower-bound"])
def test_every_known_method_resolves_or_names_the_missing_plugin(name: str) -> None:
    [method] = parse_methods([name])
    try:
        resolve_config(load_manager(), document=method.document)
    except PluginError as error:
        assert f"unknown {'clusterer' if name == 'diffseg' else 'optimizer'}" in str(error)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["papers"], "unknown method 'papers'; available: break-a-scene, conceptattention, default"),
        (["papers"], "Did you mean 'paper'?"),
        (["default", "default"], "'default' is given twice"),
        (["mine=optimiser=x"], "unknown key 'optimiser'"),
        (["mine=optimizer"], "found 'optimizer' without '='"),
        (["../up=preset=paper"], "the name '../up' is not allowed"),
        (["low=tokens-of=nobody"], "tokens-of may be another-picture, found 'nobody'"),
        ([], "names no method"),
    ],
)
def test_bad_methods(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_methods(texts)


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "methods.yaml"
    file.write_text("mine: paper\n")
    with pytest.raises(ConfigError, match="mine must be a configuration, found str"):
        parse_methods([], file)
    file.write_text("mine: {clusterers: finch}\n")
    with pytest.raises(ConfigError, match=r"mine: unknown key 'clusterers'.* Did you mean 'clusterer'"):
        parse_methods([], file)


def test_all_means_every_method_of_the_table_and_the_files_words_count(tmp_path: Path) -> None:
    file = tmp_path / "budget.yaml"
    file.write_text("paper: {preset: paper, optimizer: {steps: 20, merge_step: 4}}\nmine: {clusterer: kmeans}\n")
    methods = parse_methods(["all"], file)
    assert [method.name for method in methods] == [*TABLE, "mine"]
    assert {method.name: method.base for method in methods}["lower-bound"] == "default"
    paper = next(method for method in methods if method.name == "paper")
    assert paper.document["optimizer"] == {"steps": 20, "merge_step": 4}
