"""More of the contract kit: dtypes, devices and shapes of results, and wrappers of stages."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ConfigDict, Field

import uce
from uce.core import AttentionMaps, Clusters, Concepts, LearnedConcepts, StageInputError, TokenPlan, hookimpl
from uce.testing import ContractError, check_plugin


def broken(plugin: Any, rule: str) -> str:
    """The text of the error, which must be about `rule`."""
    with pytest.raises(ContractError) as caught:
        check_plugin(plugin)
    assert caught.value.rule == rule, caught.value
    return str(caught.value)


def refiner(change: Callable[[Concepts], Concepts]) -> type:
    """A documented refiner around a function of the concepts."""

    def uce_refine_masks(self: Any, concepts: Concepts) -> Concepts:
        return change(concepts)

    return type("Sample", (), {"__doc__": "A sample.", "uce_refine_masks": hookimpl(uce_refine_masks)})


def extractor(make: Callable[[], AttentionMaps]) -> type:
    """A documented extractor that looks at nothing."""

    def uce_extract_attention(self: Any) -> AttentionMaps:
        return make()

    return type("Sample", (), {"__doc__": "A sample.", "uce_extract_attention": hookimpl(uce_extract_attention)})


def maps(affinity: torch.Tensor, side: int = 8) -> AttentionMaps:
    return AttentionMaps(affinity, torch.rand(side, side))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: replace(c, masks=c.masks.float()), "masks must be boolean, found torch.float32"),
        (lambda c: replace(c, pixel_masks=torch.zeros(len(c), 40, 48)), "pixel_masks must be boolean"),
        (lambda c: replace(c, scores=c.scores[1:]), "scores must hold 3 values, found 2"),
        (lambda c: replace(c, scores=c.scores[:, None]), "scores must have 1 axes"),
        (lambda c: replace(c, maps=c.maps[:, 1:]), "maps must be (3, 64), found (3, 63)"),
        (lambda c: replace(c, maps=c.maps / 0), "not finite"),
        (lambda c: replace(c, labels=["one"]), "labels must hold 3 words, found 1"),
    ],
)
def test_wrong_dtypes_and_shapes_of_a_refiner(change: Callable[[Concepts], Concepts], text: str) -> None:
    assert text in broken(refiner(change), "valid data")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: maps(torch.ones(64, 64)), "affinity rows must sum to 1"),
        (lambda: maps(torch.full((64, 64), 1 / 64), side=4), "affinity must be (16, 16)"),
        (lambda: maps(torch.full((64, 64), float("nan"))), "not finite"),
    ],
)
def test_wrong_maps_of_an_extractor(make: Callable[[], AttentionMaps], text: str) -> None:
    assert text in broken(extractor(make), "valid data")


def test_a_result_on_another_device() -> None:
    class Elsewhere:
        """Leaves its weights where it trained them."""

        @hookimpl
        def uce_optimize(self, plan: TokenPlan) -> LearnedConcepts:
            learned = {encoder: start.mean(dim=1, keepdim=True) for encoder, start in plan.starts.items()}
            return LearnedConcepts(plan.tokens, learned, {"lora": torch.zeros(2, device="meta")})

    text = broken(Elsewhere, "same device")
    assert "weights['lora'] is on meta, the inputs were on the cpu" in text and "return .cpu() tensors" in text


def test_a_result_with_a_gradient() -> None:
    class Attached:
        """Forgets to detach."""

        @hookimpl
        def uce_optimize(self, plan: TokenPlan) -> LearnedConcepts:
            learned = {encoder: start.mean(dim=1, keepdim=True) for encoder, start in plan.starts.items()}
            return LearnedConcepts(plan.tokens, learned, {"lora": torch.zeros(2, requires_grad=True)})

    assert "weights['lora'] still carries a gradient" in broken(Attached, "no gradient")


def test_settings_without_a_schema() -> None:
    class Opaque(uce.Settings):
        model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
        maps: AttentionMaps | None = Field(None, description="no word, number or list")

    sample = refiner(lambda concepts: concepts)
    sample.Settings = Opaque  # type: ignore[attr-defined]
    assert "have no JSON schema" in broken(sample, "settings")


class Wrapper:
    """Leaves everything as it is."""

    @hookimpl(wrapper=True)
    def uce_extract_attention(self) -> Iterator[None]:
        return (yield)

    @hookimpl(wrapper=True)
    def uce_cluster(self) -> Iterator[None]:
        return (yield)

    @hookimpl(wrapper=True)
    def uce_refine_masks(self) -> Iterator[None]:
        return (yield)

    @hookimpl(wrapper=True)
    def uce_initialize_tokens(self) -> Iterator[None]:
        return (yield)

    @hookimpl(wrapper=True)
    def uce_optimize(self) -> Iterator[None]:
        return (yield)


def test_a_good_wrapper_of_every_stage_passes() -> None:
    info = check_plugin(Wrapper)
    assert info.stages == () and info.wraps == ("extractor", "clusterer", "refiner", "initializer", "optimizer")


def wrapper(change: Callable[[Clusters, AttentionMaps], Any]) -> type:
    """A documented wrapper of clusterers around a function of (clusters, attention)."""

    def uce_cluster(self: Any, attention: AttentionMaps) -> Any:
        return change((yield), attention)

    return type("Sample", (), {"__doc__": "A sample.", "uce_cluster": hookimpl(wrapper=True)(uce_cluster)})


def test_wrappers_that_break_rules() -> None:
    def spoil(clusters: Clusters, attention: AttentionMaps) -> Clusters:
        attention.affinity.zero_()
        return clusters

    def fail(clusters: Clusters, attention: AttentionMaps) -> Clusters:
        if clusters.num_clusters == 1:
            raise IndexError("no second cluster")
        return clusters

    text = broken(wrapper(spoil), "inputs unchanged")
    assert text.startswith("wrapper of the clusterer 'sample' (on maps of two things)")
    assert "it returned NoneType" in broken(wrapper(lambda clusters, attention: None), "returned type")
    assert "labels are (7, 8)" in broken(wrapper(lambda c, a: Clusters(c.labels[1:])), "no cell forgotten")
    assert "it raised IndexError" in broken(wrapper(fail), "error style")
    shuffled = wrapper(lambda c, a: Clusters(torch.randperm(c.labels.numel()).reshape(a.grid)))
    assert "it changed torch's random state" in broken(shuffled, "nothing global")


def test_a_wrapper_may_refuse_degenerate_input() -> None:
    def refuse(clusters: Clusters, attention: AttentionMaps) -> Clusters:
        if clusters.num_clusters == 1:
            raise StageInputError("there is one cluster only; choose another clusterer")
        return clusters

    assert check_plugin(wrapper(refuse)).wraps == ("clusterer",)


PACKAGE = """
[project]
name = "two"
version = "1"
[project.entry-points.uce]
left = "two_plugins:Left"
right = "two_plugins:right"
"""
MODULE = '''
import torch
import uce
from uce.core import Clusters

class Left:
    """All cells alike."""
    name = "left"

    @uce.hookimpl
    def uce_cluster(self, attention):
        return Clusters(torch.zeros(attention.grid, dtype=torch.int64))

class Right:
    """Labels that are no whole numbers."""
    name = "right"

    @uce.hookimpl
    def uce_cluster(self, attention):
        return Clusters(torch.zeros(attention.grid))

right = Right()
'''
TESTS = """
import sys

EARLY = "torch" in sys.modules

from uce.testing import check_plugin

def test_contract(uce_plugin):
    check_plugin(uce_plugin)

def test_nothing_heavy_was_imported_before():
    assert not EARLY

def test_fixtures(tiny_attention, tiny_concepts, tiny_picture, tiny_backbone, uce_manager):
    assert tiny_attention.grid == (8, 8) and len(tiny_concepts) == 3 and tiny_picture.size == (40, 48)
    assert tiny_backbone.encoders == ("clip",) and "finch" in uce_manager.available("clusterer")
"""


@pytest.fixture
def run_pytest(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run pytest on `files` in another process with our pytest plugin: (exit code, output)."""

    def run(**files: str) -> tuple[int, str]:
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        paths = [str(tmp_path), str(Path(uce.__file__).parents[1])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # ours may or may not be installed here; this loads it once
            "PYTEST_PLUGINS": "uce.testing.pytest_plugin",
        }
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", str(tmp_path)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_pytest_plugin_checks_every_entry_point(run_pytest: Callable[..., tuple[int, str]]) -> None:
    code, out = run_pytest(pyproject__toml=PACKAGE, two_plugins__py=MODULE, test_two__py=TESTS)
    assert code == 1, out
    assert "test_contract[left] PASSED" in out and "test_contract[right] FAILED" in out
    assert "clusterer 'right' (on maps of two things) breaks the rule 'valid data'" in out
    assert "test_fixtures PASSED" in out and "test_nothing_heavy_was_imported_before PASSED" in out


def test_pytest_plugin_without_entry_points(run_pytest: Callable[..., tuple[int, str]]) -> None:
    code, out = run_pytest(pyproject__toml="[project]\nname = 'none'\n", test_none__py=TESTS)
    assert code != 0 and "there is no [project.entry-points.uce] in" in out


def test_our_distribution_brings_the_pytest_plugin() -> None:
    project = tomllib.loads((Path(uce.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"uce": "uce.testing.pytest_plugin"}
