"""Variants: sections of a configuration under names."""

from __future__ import annotations

from typing import Any

import pytest

from uce.ablation.variants import Variant, parse_variants


@pytest.mark.parametrize(
    ("key", "body", "wanted"),
    [
        ("clusterer", {"plugin": "hdbscan", "smallest": 6}, Variant("x", "hdbscan", {"clusterer.smallest": 6})),
        ("clusterer", {"smallest": 6}, Variant("x", "x", {"clusterer.smallest": 6})),
        ("clusterer", None, "x"),
        ("refiner", {"plugin": "a+b", "a": {"k": 1}}, Variant("x", "a+b", {"refiner.a.k": 1})),
        ("refiner", {"chain": ["a", "b"]}, Variant("x", "a+b")),
        ("model", {"name": "folder", "compile": True}, Variant("x", "folder", {"model.compile": True})),
    ],
)
def test_a_section_becomes_a_plugin_and_settings(key: str, body: Any, wanted: Any) -> None:
    assert list(parse_variants(key, {"x": body})) == [wanted]
