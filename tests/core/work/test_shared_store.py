"""Stage results that runs share."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from uce.core.flow.data import Clusters
from uce.core.work.cache import SharedStore


def clusters(value: int = 0) -> Clusters:
    return Clusters(torch.full((8, 8), value, dtype=torch.int64), merge_threshold=0.5)


def age(folder: Path, key: str, seconds: int) -> None:
    os.utime(folder / f"{key}.safetensors", (seconds, seconds))


def test_a_result_comes_back_with_its_seconds_and_whose_it_is(tmp_path: Path) -> None:
    mine, other = SharedStore(tmp_path, "a/one"), SharedStore(tmp_path, "a/two")
    assert mine.get("k") is None
    mine.put("k", clusters(3), 1.5)
    for store, reused in ((mine, False), (other, True)):
        kept = store.get("k")
        assert kept is not None and (kept.seconds, kept.reused) == (1.5, reused)
        assert isinstance(kept.data, Clusters) and torch.equal(kept.data.labels, clusters(3).labels)
        assert kept.data.merge_threshold == 0.5


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = SharedStore(tmp_path, "x")
    for number, key in enumerate(("old", "used", "new")):
        store.put(key, clusters(), 1)
        age(tmp_path, key, 1000 + number)
    age(tmp_path, "old", 10)
    assert store.get("old") is not None, "and is now the most recently used"
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    SharedStore(tmp_path, "x", limit=3 * size).put("more", clusters(), 1)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["more", "new", "old"]


def test_what_alone_is_too_large_is_not_kept_and_costs_nothing(tmp_path: Path) -> None:
    SharedStore(tmp_path, "x").put("small", clusters(), 1)
    store = SharedStore(tmp_path, "x", limit=100)
    store.put("large", clusters(), 1)
    assert store.get("large") is None and store.get("small") is not None


def test_a_damaged_file_is_no_result(tmp_path: Path) -> None:
    store = SharedStore(tmp_path, "x")
    store.put("k", clusters(), 1)
    path = tmp_path / "k.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    assert store.get("k") is None
    store.put("k", clusters(2), 1)
    assert store.get("k") is not None
