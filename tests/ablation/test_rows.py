"""Rows say what differs; seeds are pooled."""

from __future__ import annotations

from typing import Any

import pytest

from uce.ablation.grid import expand, parse_vary, resolve_cells, without_repeats
from uce.ablation.rows import make_rows
from uce.core.config.options import Options


def rows_of(vary: Any, one_at_a_time: bool = False) -> list[dict[str, Any]]:
    base = Options()
    variations = parse_vary(vary)
    cells = expand(variations, one_at_a_time)
    configs = resolve_cells(cells, base, base.manager())
    cells = without_repeats(cells, configs) if one_at_a_time else cells
    return make_rows(cells, configs, [item.key for item in variations])


def test_seeds_are_one_row() -> None:
    rows = rows_of(["clusterer=finch,kmeans", "seed=0,1"])
    assert [row["cells"] for row in rows] == [
        [f"clusterer-{name}_seed-0", f"clusterer-{name}_seed-1"] for name in ("finch", "kmeans")
    ]
    assert [row["values"] for row in rows] == [{"clusterer": "finch"}, {"clusterer": "kmeans"}]
    assert rows[0]["title"] == "clusterer=finch" and rows[0]["settings"] == ""


def test_two_rows_with_one_plugin_show_every_setting_that_differs() -> None:
    vary = {"clusterer": {"coarse": {"plugin": "kmeans", "clusters": 3}, "kmeans": {}, "fine": {"plugin": "kmeans",
            "clusters": 30}}}  # fmt: skip
    rows = rows_of(vary)
    default = rows[1]["settings"]
    assert rows[0]["settings"] == "kmeans, clusters=3" and rows[2]["settings"] == "kmeans, clusters=30"
    assert default.startswith("clusters=") and default != "clusters=3"


def test_a_plugin_that_not_all_rows_have_shows_what_is_not_its_own_default() -> None:
    rows = rows_of({"clusterer": {"hdbscan": {"smallest": 9}, "finch": {}}})
    assert [row["settings"] for row in rows] == ["smallest=9", ""]


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_no_two_rows_say_the_same(one_at_a_time: bool) -> None:
    vary = {"extractor": ["self-attention", "multi-step"], "clusterer": {"a": {"plugin": "kmeans", "clusters": 2}, "b":
            {"plugin": "kmeans", "clusters": 4}, "kmeans": {}}}  # fmt: skip
    rows = rows_of(vary, one_at_a_time)
    said = [(*row["values"].values(), row["settings"]) for row in rows]
    assert len(set(said)) == len(said) and len(said) in (5, 6)
