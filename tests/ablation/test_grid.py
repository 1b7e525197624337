"""From `--vary` to cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from uce.ablation.grid import Variation, expand, parse_vary, resolve_cells, value_of, without_repeats
from uce.ablation.variants import Variant
from uce.core.config.options import Options
from uce.core.errors import ConfigError, PluginError, UceError


def cells_of(*texts: str, one_at_a_time: bool = False) -> list[dict[str, Any]]:
    return [dict(cell.changes) for cell in expand(parse_vary(texts), one_at_a_time)]


def test_the_grid_is_every_combination_the_last_key_fastest() -> None:
    assert cells_of("clusterer=finch, kmeans", "optimizer.merge_step=50,100") == [
        {"clusterer": "finch", "optimizer.merge_step": 50},
        {"clusterer": "finch", "optimizer.merge_step": 100},
        {"clusterer": "kmeans", "optimizer.merge_step": 50},
        {"clusterer": "kmeans", "optimizer.merge_step": 100},
    ]


def test_one_at_a_time_is_the_base_and_each_change_alone() -> None:
    assert cells_of("clusterer=finch,kmeans", "optimizer.steps=9", one_at_a_time=True) == [
        {},
        {"clusterer": "finch"},
        {"clusterer": "kmeans"},
        {"optimizer.steps": 9},
    ]


def test_seeds_repeat_every_cell_in_both_ways() -> None:
    assert cells_of("clusterer=finch", "seed=1,2", one_at_a_time=True) == [
        {"seed": 1},
        {"seed": 2},
        {"clusterer": "finch", "seed": 1},
        {"clusterer": "finch", "seed": 2},
    ]


VARIANTS = "{mine: {plugin: hdbscan, smallest: 6}, kmeans: {}}"


def test_variants_have_names_and_settings_in_a_text_in_a_file_and_from_python(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(f"clusterer: {VARIANTS}\nrefiner: [none, saliency + merge]\n")
    found = parse_vary([f"clusterer={VARIANTS}"])
    (variant, plain) = found[0].values
    assert variant == Variant("mine", "hdbscan", {"clusterer.smallest": 6}) and plain == "kmeans"
    assert found[0].labels == ("mine", "kmeans") and str(found[0]) == "clusterer=mine,kmeans"
    assert parse_vary({"clusterer": yaml.safe_load(VARIANTS)}) == found
    assert parse_vary([str(tmp_path / "grid.yaml")]) == (*found, Variation("refiner", ("none", "saliency+merge")))
    options = Options()
    cells = expand(found, False)
    config = resolve_cells(cells, options, options.manager())["clusterer-mine"].to_dict()
    assert (config["clusterer"]["plugin"], config["clusterer"]["smallest"]) == ("hdbscan", 6)


def test_variants_of_a_chain_have_settings_by_refiner() -> None:
    vary = {"refiner": {"ours": {"chain": ["saliency", "merge"], "merge": {"threshold": 2}}, "saliency+merge": {}}}
    options = Options(set=["run.threads=1"])
    cells = expand(parse_vary(vary), False)
    assert [cell.title for cell in cells] == ["refiner=ours", "refiner=saliency+merge"]
    first, second = (config.to_dict() for config in resolve_cells(cells, options, options.manager()).values())
    assert first["refiner"]["chain"] == second["refiner"]["chain"] == ["saliency", "merge"]
    assert first["refiner"]["merge"]["threshold"] == 2.0 != second["refiner"]["merge"]["threshold"]


def test_a_change_that_the_base_has_anyway_is_no_cell_of_its_own() -> None:
    options = Options()
    cells = expand(parse_vary(["clusterer=normalized-cuts,kmeans", "optimizer.steps=120,7"]), True)
    kept = without_repeats(cells, resolve_cells(cells, options, options.manager()))
    assert [cell.title for cell in kept] == ["base", "clusterer=kmeans", "optimizer.steps=7"]


def test_values_are_yaml_and_commas_within_brackets_and_quotes_belong_to_them() -> None:
    (variation,) = parse_vary(["run.concepts=[0, 2],[1],null"])
    assert variation.values == ([0, 2], [1], None) and variation.labels == ("[0, 2]", "[1]", "null")
    assert parse_vary(['run.names="a,b",c'])[0].values == ("a,b", "c")
    assert parse_vary(["optimizer.attention_weight=0,1e-5"])[0].labels == ("0", "1e-5")


def test_models_are_names_even_where_they_look_like_yaml() -> None:
    assert parse_vary(["model=mini,C:\\models\\x: y"])[0].values == ("mini", "C:\\models\\x: y")


def test_python_gives_values_as_they_are() -> None:
    found = parse_vary({"refiner": ["saliency+merge", ["saliency", "smooth"]], "optimizer.steps": [1, 2]})
    assert [item.values for item in found] == [("saliency+merge", "saliency+smooth"), (1, 2)]


def test_a_chain_of_refiners_reaches_the_configuration() -> None:
    options = Options(set=["run.threads=1"])
    cells = expand(parse_vary(["refiner=saliency+merge,none", "refiner.saliency.threshold=1"]), False)
    config = resolve_cells(cells[:1], options, options.manager())[cells[0].name]
    assert [choice.plugin.name for choice in config.refiners] == ["saliency", "merge"]
    assert value_of(config, "refiner") == "saliency+merge" and value_of(config, "refiner.saliency.threshold") == "1.0"
    assert value_of(config, "clusterer") == "normalized-cuts" and value_of(config, "model") == "mini"
    assert value_of(config, "seed") == "0" and value_of(config, "preset") == "default"
    assert value_of(config, "refiner.smooth.holes") == ""
    assert cells[0].options(options).set == {"run.threads": 1, "refiner.saliency.threshold": 1}


@pytest.mark.parametrize("given", [["optimizer.steps=5"], {"optimizer.steps": 5}])
def test_a_varied_key_outranks_the_same_key_of_set(given: Any) -> None:
    options = Options(set=given)
    cells = expand(parse_vary(["optimizer.steps=7"]), False)
    config = resolve_cells(cells, options, options.manager())[cells[0].name]
    assert config.to_dict()["optimizer"]["steps"] == 7


def test_names_of_folders_are_safe_and_differ() -> None:
    cells = expand(parse_vary({"model": ["a/b c", "a-b c", "A/B C", "<x>", "y" * 300]}), False)
    names = [cell.name for cell in cells]
    assert names[:4] == ["model-a-b-c", "model-a-b-c-2", "model-A-B-C-3", "model--x"]
    assert all(re.fullmatch(r"[A-Za-z0-9.+_-]{1,110}", name) for name in names)
    assert expand(parse_vary(["refiner=saliency+merge"]), False)[0].name == "refiner-saliency+merge"


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ([], "nothing varies; give --vary KEY=VALUE,VALUE"),
        (["clusterer"], "--vary clusterer: write KEY=VALUE,VALUE"),
        (["clusterer="], "--vary clusterer=: write KEY=VALUE,VALUE"),
        (["clusterer=finch,"], "found an empty name"),
        (["refiner=saliency++merge"], r"--vary refiner must be a list of refiner names, found 'saliency\+\+merge'"),
        (["clustrer=finch"], "unknown key 'clustrer'; available: .* Did you mean 'clusterer'"),
        (["optimiser.steps=1"], "unknown stage 'optimiser'; available: .* Did you mean 'optimizer'"),
        (["seed=1,2", "seed=3"], "--vary seed: given twice"),
        (["seed=1,1"], "--vary seed: the value 1 is given twice"),
        (["run.concepts=[0"], "not readable as YAML"),
        ({"seed": 3}, r"vary\['seed'\] must be a list of values, found 3"),
        ({"clusterer": []}, r"vary\['clusterer'\] must be a list of values"),
        ({"clusterer": [3]}, "one that is no text"),
        (["clusterer={mine: 3}"], "the variant .mine. must be a mapping of settings, such as {plugin: NAME"),
        ({"optimizer.steps": {"few": 3}}, "only stages and the model have variants with names; give a list of values"),
        ({"refiner": {"a": {"chain": ["none"], "none": 3}}}, "a refiner's settings are a mapping"),
        (["nowhere.yaml"], "--vary nowhere.yaml: No such file"),
    ],
)
def test_what_cannot_vary_is_said(texts: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse_vary(texts)


@pytest.mark.parametrize(
    ("vary", "kind", "text"),
    [
        ("clusterer=finch,kmean", PluginError, "in the cell clusterer=kmean: unknown clusterer 'kmean'.*'kmeans'"),
        ("optimizer.stps=1", ConfigError, "unknown key 'optimizer.stps'.* Did you mean 'optimizer.steps'"),
        ("optimizer.steps=1,x", ConfigError, "in the cell optimizer.steps=x: optimizer.steps: found 'x'"),
        ("refiner.background.smallest=0.1", ConfigError, "that refiner is not in the chain"),
        ("preset=papers", ConfigError, "unknown preset 'papers'.* Did you mean 'paper'"),
        ("seed=-1", ConfigError, "in the cell seed=-1: run.seed"),
    ],
)
def test_what_a_cell_cannot_be_is_said_with_its_name(vary: str, kind: type[UceError], text: str) -> None:
    options = Options()
    with pytest.raises(kind, match=text):
        resolve_cells(expand(parse_vary([vary]), False), options, options.manager())
