"""Whatever form settings are given in, they are the same afterwards."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uce.core.config.assigned import keys_of, parse_assignment, parse_chain, read_settings, section_of, without
from uce.core.errors import ConfigError


class Fit(Enum):
    CROP = "crop"


@pytest.mark.parametrize(
    "given",
    [
        ["optimizer.steps=200", "refiner.edges.band=1.5"],
        {"optimizer.steps": 200, "refiner.edges.band": 1.5},
        {"optimizer": {"steps": 200}, "refiner": {"edges": {"band": 1.5}}},
        {"optimizer": {"steps": 200}, "refiner.edges": {"band": 1.5}},
        [("optimizer.steps", 200), "refiner.edges.band=1.5"],
        [{"optimizer": {"steps": np.int64(200)}}, ("refiner.edges.band", np.float64(1.5))],
        ["optimizer.steps=7", " optimizer . steps =200", "refiner.edges.band=1.5"],
    ],
)
def test_every_form_gives_the_same(given: Any) -> None:
    assert read_settings(given) == {"optimizer.steps": 200, "refiner.edges.band": 1.5}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.04), 0.04),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (torch.tensor(2.5), 2.5),
        (Path("a") / "b.png", str(Path("a") / "b.png")),
        ((1, Path("x")), [1, "x"]),
        ({2, 1}, [1, 2]),
        (Fit.CROP, "crop"),
        ("a: [b", "a: [b"),
        ("1e-3", "1e-3"),
        (None, None),
    ],
)
def test_values_of_python_become_plain_without_passing_through_text(value: Any, plain: Any) -> None:
    found = read_settings({"clusterer.key": value})["clusterer.key"]
    assert found == plain and type(found) is type(plain)


def test_a_mapping_below_a_complete_key_is_a_value() -> None:
    assert read_settings({"executor": {"options": {"num_cpus": np.int32(2)}}}) == {"executor.options": {"num_cpus": 2}}
    assert read_settings({"encoder": {"clip": {"model": Path("m")}}}) == {"encoder.clip.model": "m"}
    assert read_settings({"encoder": {"model": "m"}}) == {"encoder.model": "m"}


def test_nothing_given() -> None:
    assert read_settings(None) == read_settings(()) == read_settings({}) == {}
    assert read_settings("run.seed=3") == {"run.seed": 3}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (3, r"set: found 3; give texts such as 'optimizer.steps=200', or a mapping"),
        ([3], r"set: found 3; write stage.key=value"),
        ({"steps": 3}, r"--set steps=3: write stage.key=value, such as optimizer.steps=200"),
        ({"optimizer.": 3}, r"--set optimizer.=3: write stage.key=value"),
        (["optimizer.steps"], r"--set optimizer.steps: write stage.key=value"),
        (["run.seed=["], r"--set run.seed=\[: the value is not readable as YAML"),
    ],
)
def test_what_is_no_setting(given: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_settings(given)


def test_parse_assignment_reads_yaml() -> None:
    assert parse_assignment("run.names=[cup, cat]") == (["run", "names"], ["cup", "cat"])
    assert parse_assignment("model.revision=null") == (["model", "revision"], None)


def test_sections() -> None:
    settings = {"executor.workers": 2, "run.seed": 1, "executors.a": 0}
    assert keys_of(settings, "executor") == {"workers": 2}
    assert without(settings, "executor") == {"run.seed": 1, "executors.a": 0}
    assert section_of(settings, "run", "model") == {"run.seed": 1}


@pytest.mark.parametrize(
    ("given", "chain"),
    [
        ("merge", ["merge"]),
        ("saliency+merge", ["saliency", "merge"]),
        (["saliency", "merge + edges"], ["saliency", "merge", "edges"]),
        (("saliency", "+merge"), ["saliency", "merge"]),
        ("+mine", ["+", "mine"]),
        (["+", "mine"], ["+", "mine"]),
        (["+mine", "+other"], ["+", "mine", "other"]),
        ("+a+b", ["+", "a", "b"]),
    ],
)
def test_chains(given: Any, chain: list[str]) -> None:
    assert parse_chain(given) == chain
    assert parse_chain(chain) == chain, "what is read is read again"


@pytest.mark.parametrize("given", ["", "+", [], ["+"], "a++b", "a+", ["a", ""], ["a", "+"], ["", "mine"]])
def test_chains_without_a_name(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"--vary refiner must be a list of refiner names, found .*write saliency"):
        parse_chain(given, "--vary refiner")


def test_a_chain_of_numbers() -> None:
    with pytest.raises(ConfigError, match=r"--refiner must be a list of refiner names, found 3 in it; give names"):
        parse_chain(3)  # type: ignore[arg-type]
