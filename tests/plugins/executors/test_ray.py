"""Executor ray; the parts that need Ray are skipped where it is not installed."""

from __future__ import annotations

import builtins
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uce
from uce.core import PluginError
from uce.plugins.executors.ray import RayExecutor
from uce.testing import check_plugin

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: extra [ray]")


def test_contract() -> None:
    assert check_plugin(RayExecutor).stages == ("executor",)


def test_without_ray_it_says_how_to_get_it(
    pictures: Path, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PluginError, match=r"needs Ray .*pip install 'uce-concepts\[ray\]'"):
        uce.batch(pictures, tmp_path / "out", executor="ray", localize_only=True, **base)


@needs_ray
def test_dead_actors_are_replaced_and_bytes_are_those_of_local(
    pictures: Path, base: dict[str, Any], stable_bytes: Callable[[Path], dict[str, bytes]], tmp_path: Path
) -> None:
    base["set"] |= {"clusterer.fault": "die", "clusterer.diary": str(tmp_path / "diary")}
    names = sorted(pictures.iterdir())
    lines = [{"image": str(path), "clusterer.deaths": deaths} for path, deaths in zip(names, (0, 1, 0, 2), strict=True)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    own = base | {"set": {**base["set"], "executor.retries": 1}}
    done = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", executor="ray", workers=2, **own)
    assert [row["status"] for row in done.rows] == ["done", "done", "done", "failed"]
    assert "its worker died 2 times" in done.failures[0]["error"]
    # the fourth has died as often as it will: now it can be done, and by anybody
    again = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", **base)
    assert again.document["worked_on"] == 1 and again.document["counts"] == {"done": 4}
    local = uce.batch(tmp_path / "list.jsonl", tmp_path / "local", **base)
    assert {row["status"] for row in local.rows} == {"done"}
    assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "local")
