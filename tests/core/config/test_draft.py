"""What layers say, one after the other: whatever is named later wins, and what goes with its plugin is told."""

from __future__ import annotations

from uce.core.config.draft import Draft


def draft() -> Draft:
    """Clusterer "points" asks for a chain and a foreground step of its own; "plain" stands with another."""
    start = Draft({"points": ["grow", "trim"]}, {"points": "walk"})
    start.plugins |= {"clusterer": "plain", "foreground": "otsu"}
    start.name_chain(["clean"])
    start.set_value("foreground", "threshold", 2)
    start.set_value("refiner.clean", "least", 3)
    return start


def test_naming_the_same_plugin_keeps_its_settings() -> None:
    found = draft()
    found.set_value("clusterer", "k", 4)
    found.name_plugin("clusterer", "plain")
    assert found.values["clusterer"] == {"k": 4} and found.note() is None


def test_another_plugin_starts_from_its_own_defaults() -> None:
    found = draft()
    found.set_value("clusterer", "k", 4)
    found.name_plugin("clusterer", "other")
    assert "clusterer" not in found.values and found.plugins["clusterer"] == "other"
    assert found.note() == "settings dropped with their plugins: clusterer plain (k)"


def test_a_note_names_three_keys() -> None:
    found = draft()
    for number in range(5):
        found.set_value("optimizer", f"k{number}", number)
    found.plugins["optimizer"] = "slow"
    found.name_plugin("optimizer", "fast")
    assert found.note() == "settings dropped with their plugins: optimizer slow (k0, k1, k2 and 2 more)"
    found.dropped["optimizer slow"].pop()
    found.dropped["optimizer slow"].pop()
    assert str(found.note()).endswith("(k0, k1, k2)")


def test_a_clusterer_brings_its_chain_and_its_foreground_step() -> None:
    found = draft()
    found.name_plugin("clusterer", "points")
    assert found.chain == ["grow", "trim"] and found.plugins["foreground"] == "walk"
    assert found.values == {"foreground": {}}
    assert found.note() == "settings dropped with their plugins: refiner clean (least)"


def test_the_next_clusterer_finds_what_stood_before() -> None:
    found = draft()
    found.name_plugin("clusterer", "points")
    found.set_value("refiner.grow", "by", 1)
    found.name_plugin("clusterer", "plain")
    assert found.chain == ["clean"] and found.plugins["foreground"] == "otsu" and found.note() is None
    assert found.values == {"foreground": {"threshold": 2}, "refiner.clean": {"least": 3}}


def test_a_foreground_step_that_was_named_stays() -> None:
    found = draft()
    found.name_plugin("clusterer", "points")
    found.name_plugin("foreground", "none")
    found.name_plugin("clusterer", "plain")
    assert found.plugins["foreground"] == "none"


def test_a_chain_that_is_named_keeps_the_settings_of_its_refiners() -> None:
    found = draft()
    found.set_value("refiner.grow", "by", 1)
    found.name_chain(["trim", "clean"])
    assert found.chain == ["trim", "clean"] and found.values["refiner.clean"] == {"least": 3}
    assert found.note() == "settings dropped with their plugins: refiner grow (by)"


def test_a_chain_named_after_its_clusterer_gets_back_what_was_set_aside() -> None:
    found = draft()
    found.name_plugin("clusterer", "points")
    found.name_chain(["clean"])
    assert found.chain == ["clean"] and found.values["refiner.clean"] == {"least": 3} and found.set_aside is None


def test_a_plus_appends_also_to_the_chain_that_was_set_aside() -> None:
    found = draft()
    found.name_plugin("clusterer", "points")
    found.name_chain(["+", "last"])
    assert found.chain == ["grow", "trim", "last"]
    found.name_plugin("clusterer", "plain")
    assert found.chain == ["clean", "last"]
