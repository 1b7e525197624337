"""Plugins and settings appear by themselves, third parties' too, and none of them reads the server's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from uce.core.errors import ConfigError
from uce.core.flow.stages import LEARNING, LOCALISING
from uce.ui.menu import STAGE_TITLES, Chosen, Menu, form_fields

THIRD_PARTY = '''
"""A clusterer of somebody else."""
from pathlib import Path
import torch, uce
from pydantic import Field
from uce.core import Clusters

class Stripes:
    """Stripes, for tests."""
    name = "stripes"
    class Settings(uce.Settings):
        number: int = Field(2, ge=1, le=9, description="how many")
        diary: Path | None = Field(None, description="a file")
    @uce.hookimpl
    def uce_cluster(self, attention, settings):
        h, w = attention.grid
        return Clusters((torch.arange(h)[:, None] * settings.number // h).expand(h, w).clone())

plugin = Stripes()
'''


@pytest.fixture(scope="module")
def menu() -> Menu:
    return Menu()


def field(menu: Menu, chosen: Chosen, key: str):
    return next(f for section in menu.sections(chosen) for f in section.fields if f.key == key)


def test_every_stage_has_its_plugins_with_described_settings(menu: Menu) -> None:
    assert {section.stage for section in menu.sections(Chosen())} == {*STAGE_TITLES, "run"}
    for stage in STAGE_TITLES:
        for name in menu.offered(stage):
            chosen = menu.choose(Chosen(), stage, name)
            section = next(s for s in menu.sections(chosen) if s.stage == stage)
            assert section.plugin == name and section.summary
            assert all(f.help and f.label for f in section.fields)


def test_kinds_and_bounds_follow_the_schema(menu: Menu) -> None:
    steps = field(menu, Chosen(), "optimizer.steps")
    assert (steps.kind, steps.whole) == ("number", True) and isinstance(steps.value, int)
    assert field(menu, Chosen(), "optimizer.schedule").choices == ("paper", "batched")
    assert field(menu, Chosen(), "extractor.cells").kind == "text"
    assert field(menu, Chosen(), "run.guidance").maximum == 50


def test_a_third_partys_plugin_appears_by_itself_without_its_file_settings(tmp_path: Path) -> None:
    path = tmp_path / "stripes.py"
    path.write_text(THIRD_PARTY)
    menu = Menu({"plugin": [str(path)]})
    chosen = menu.choose(Chosen(), "clusterer", "stripes")
    section = next(s for s in menu.sections(chosen) if s.stage == "clusterer")
    assert section.summary == "Stripes, for tests."
    assert [(f.key, f.minimum, f.maximum) for f in section.fields] == [("clusterer.number", 1, 9)]


def test_nothing_on_the_menu_names_a_file_of_the_server(menu: Menu) -> None:
    assert "given" not in menu.offered("clusterer")
    with pytest.raises(ConfigError, match="unknown clusterer 'given'"):
        menu.choose(Chosen(), "clusterer", "given")
    keys = [f.key for section in menu.sections(Chosen()) for f in section.fields]
    assert not [key for key in keys if key.startswith("model.")]
    assert [key for key in keys if key.startswith("run.")] == [
        "run.seed",
        "run.fit",
        "run.samples",
        "run.sample_steps",
        "run.guidance",
    ]
    info = menu.manager.available("clusterer")["kmeans"]
    assert form_fields(info.settings_class, info.settings_class(), "clusterer")


def test_values_are_checked_when_they_are_set(menu: Menu) -> None:
    chosen = menu.change(Chosen(), field(menu, Chosen(), "optimizer.steps"), 7.0)
    assert chosen.values == {"optimizer.steps": 7}
    assert menu.options(chosen, LEARNING)["set"] == {"optimizer.steps": 7}
    with pytest.raises(ConfigError, match=r"optimizer\.steps"):
        menu.change(Chosen(), field(menu, Chosen(), "optimizer.steps"), -1)
    with pytest.raises(ConfigError, match="cannot be read"):
        menu.change(Chosen(), field(menu, Chosen(), "extractor.cells"), "[")
    assert menu.change(Chosen(), field(menu, Chosen(), "extractor.cells"), "16").values == {"extractor.cells": 16}


def test_options_go_to_their_own_half(menu: Menu) -> None:
    chosen = Chosen(plugins={"clusterer": "kmeans", "optimizer": "lora"}, refiners=["none"], values={
        "clusterer.most": 5, "optimizer.rank": 2, "run.seed": 3})  # fmt: skip
    finding, learning = menu.options(chosen, LOCALISING), menu.options(chosen, LEARNING)
    assert finding == {
        "clusterer": "kmeans",
        "refiner": ["none"],
        "preset": "default",
        "set": {"clusterer.most": 5, "run.seed": 3},
    }
    assert learning == {"optimizer": "lora", "set": {"optimizer.rank": 2, "run.seed": 3}}


def test_another_plugin_drops_the_values_of_the_last(menu: Menu) -> None:
    chosen = Chosen(values={"clusterer.min_clusters": 4, "refiner.saliency.threshold": 1.0, "run.seed": 1})
    assert menu.choose(chosen, "clusterer", "kmeans").values == {"refiner.saliency.threshold": 1.0, "run.seed": 1}
    assert menu.choose(chosen, "refiner", ["merge"]).values == {"clusterer.min_clusters": 4, "run.seed": 1}
    assert menu.choose(chosen, "refiner", []).refiners == ["none"]
