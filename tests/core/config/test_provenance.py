"""Who made a run folder, and what is said where the maker is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uce.core.config.options import Options
from uce.core.config.provenance import plugin_rows, recorded_rows, require_makers
from uce.core.errors import PluginError
from uce.core.registry.manager import load_manager

TOY = str(Path(__file__).parents[2] / "toy_plugin.py")
WAY_OUT = ", or choose another with --{stage}"


def folder_with(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "run.json").write_text(json.dumps({"plugins": rows}), encoding="utf-8")
    return folder / "config.yaml"


def row(**changed: Any) -> dict[str, Any]:
    return {"stage": "clusterer", "plugin": "ours", "distribution": "their-things", "version": "1.2", **changed}


def test_rows_name_every_stages_plugin_and_its_distribution(tmp_path: Path) -> None:
    manager = load_manager([TOY])
    rows = plugin_rows(Options(clusterer="toy", device="cpu").resolve(manager), manager)
    found = {one["stage"]: one for one in rows}
    assert found["clusterer"] == {"stage": "clusterer", "plugin": "toy", "distribution": TOY, "version": ""}
    assert found["optimizer"]["distribution"] == "uce-concepts" and not any(one.get("wraps") for one in rows)
    assert recorded_rows(folder_with(tmp_path, *rows)) == rows


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plugins": 3}', '{"plugins": [3]}', '{"plugins": null}'])
def test_a_file_that_is_not_a_runs_has_no_rows(tmp_path: Path, text: str) -> None:
    assert recorded_rows(tmp_path / "config.yaml") == []
    (tmp_path / "run.json").write_text(text)
    assert recorded_rows(tmp_path / "config.yaml") == []


def test_rows_that_lack_a_field_are_left_out(tmp_path: Path) -> None:
    assert recorded_rows(folder_with(tmp_path, {"stage": "clusterer"}, row())) == [row()]


@pytest.mark.parametrize("body", ["ours", {"plugin": "ours"}])
def test_a_missing_maker_is_named_with_the_way_back(tmp_path: Path, body: Any) -> None:
    file = folder_with(tmp_path, row())
    text = (
        r"was made with the clusterer 'ours' of their-things 1\.2, which is missing here; install it again "
        r"\(pip install their-things==1\.2, .*\), or choose another with --clusterer$"
    )
    with pytest.raises(PluginError, match=text):
        require_makers(load_manager(), file, {"clusterer": body}, [], WAY_OUT)


def test_a_plugin_file_is_given_again(tmp_path: Path) -> None:
    file = folder_with(tmp_path, row(distribution="my.py", version=""))
    with pytest.raises(PluginError, match=r"of my\.py, which is missing here; give --plugin my\.py again, or"):
        require_makers(load_manager(), file, {"clusterer": "ours"}, [], WAY_OUT)


def test_whose_place_another_takes(tmp_path: Path) -> None:
    file = folder_with(tmp_path, row(plugin="finch"))
    with pytest.raises(PluginError, match=r"'finch' of their-things 1\.2, whose place uce-concepts takes here"):
        require_makers(load_manager(), file, {"clusterer": "finch"}, [], WAY_OUT)


def test_a_wrapper_is_missed_whatever_the_configuration_says(tmp_path: Path) -> None:
    file = folder_with(tmp_path, row(wraps=True))
    with pytest.raises(PluginError, match=r"with the wrapper 'ours' of the clusterer of their-things 1\.2.*\)$"):
        require_makers(load_manager(), file, {"clusterer": "finch"}, ["clusterer"], WAY_OUT)


def test_an_installed_distribution_was_switched_off(tmp_path: Path) -> None:
    file = folder_with(tmp_path, row(distribution="pluggy", version="1"))
    with pytest.raises(PluginError, match="pluggy is installed: leave out the --no-plugin or UCE_DISABLE_PLUGINS"):
        require_makers(load_manager(), file, {"clusterer": "ours"}, [], WAY_OUT)


@pytest.mark.parametrize(
    ("document", "chosen"),
    [({"clusterer": "ours"}, ["clusterer"]), ({"clusterer": "finch"}, []), ({}, [])],
)
def test_nobody_misses_what_another_was_named_for(tmp_path: Path, document: Any, chosen: list[str]) -> None:
    require_makers(load_manager(), folder_with(tmp_path, row()), document, chosen, WAY_OUT)


@pytest.mark.parametrize("body", ["ours", ["clean", "ours"], {"chain": ["ours"]}])
def test_refiners_are_looked_for_in_the_chain(tmp_path: Path, body: Any) -> None:
    file = folder_with(tmp_path, row(stage="refiner"))
    with pytest.raises(PluginError, match="the refiner 'ours' of their-things"):
        require_makers(load_manager(), file, {"refiner": body}, [], WAY_OUT)
    require_makers(load_manager(), file, {"refiner": {"chain": ["clean"]}}, [], WAY_OUT)
