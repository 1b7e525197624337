"""What is known of a plugin."""

from __future__ import annotations

import types

import pytest

import uce
from uce.core.flow.plugin_info import PluginInfo, is_plugin_name, kebab


class Plain:
    """What it does.

    More.
    """


class WithSettings:
    refiners = "none"

    class Settings(uce.Settings):
        pass


class WithSomethingElse:
    refiners = ("saliency", "merge")
    Settings = dict


def info(obj: object, version: str = "1.0") -> PluginInfo:
    return PluginInfo("mine", ("clusterer",), (), (), "uce-mine", version, "installed", obj)


def test_summary_and_settings() -> None:
    assert info(Plain()).summary == "What it does." and info(Plain()).settings_class is uce.Settings
    assert info(WithSettings()).settings_class is WithSettings.Settings
    assert info(WithSomethingElse()).settings_class is uce.Settings
    module = types.ModuleType("plugin", "A module.\n\nMore.")
    assert info(module).summary == "A module."


def test_a_chain_that_a_clusterer_asks_for() -> None:
    assert info(Plain()).refiners == ()
    assert info(WithSettings()).refiners == ("none",) and info(WithSomethingElse()).refiners == ("saliency", "merge")


def test_how_it_is_called_in_sentences() -> None:
    assert str(info(Plain())) == "'mine' (uce-mine 1.0)" and str(info(Plain(), "")) == "'mine' (uce-mine)"


@pytest.mark.parametrize(
    ("name", "found"),
    [("MyClusterer", "my-clusterer"), ("my_clusterer", "my-clusterer"), ("HDBScan2Clusterer", "hdbscan2-clusterer"),
     ("StageFinished", "stage-finished"), ("a b", "a-b")],
)  # fmt: skip
def test_kebab_case(name: str, found: str) -> None:
    assert kebab(name) == found and is_plugin_name(found)


@pytest.mark.parametrize("name", ["", "A", "1a", "a--b", "-a", "a-", "a_b", "a b", "é", "a\n"])
def test_what_is_no_name(name: str) -> None:
    assert not is_plugin_name(name)
