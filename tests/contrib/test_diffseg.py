"""DiffSeg's merging against the paper's steps done by hand; `test_all_clusterers.py` has the properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from uce.contrib.diffseg import DiffSegClusterer, _anchors, _gathered, _merged
from uce.core import AttentionMaps
from uce.core.registry.manager import load_manager
from uce.testing import check_plugin, tiny_attention, tiny_labels


def cluster(attention: AttentionMaps, **settings: Any) -> Any:
    return DiffSegClusterer().uce_cluster(attention, DiffSegClusterer.Settings(**settings))


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float(((p - q) * (np.log(p) - np.log(q))).sum() / 2)


def test_contract() -> None:
    check_plugin(DiffSegClusterer)


def test_it_is_listed_as_ours_and_has_the_papers_defaults() -> None:
    info = load_manager().get("clusterer", "diffseg")
    assert info.distribution == "uce-concepts" and info.origin == "built-in"
    assert DiffSegClusterer.Settings().model_dump() == {"anchors": 16, "threshold": 1.0, "iterations": 3}


def test_anchors_are_spread_evenly() -> None:
    assert _anchors((4, 4), 2).tolist() == [5, 7, 13, 15]
    assert _anchors((2, 3), 16).tolist() == [0, 1, 2, 3, 4, 5], "at most every cell"


def test_rounds_are_the_papers() -> None:
    """First: the mean of all rows near an anchor. Later: greedy, in order, taken out when merged."""
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(16), size=16)
    anchors = np.array([0, 5, 9, 12])
    threshold = float(np.median([kl(a, b) for a in rows for b in rows]))
    expected = [np.mean([row for row in rows if kl(rows[a], row) < threshold], axis=0) for a in anchors]
    maps = _gathered(rows, anchors, threshold)
    np.testing.assert_allclose(maps, expected, rtol=1e-9)

    threshold = float(np.median([kl(a, b) for a in maps for b in maps if a is not b]))
    left, merged = list(maps), []
    while left:
        near = [kl(left[0], other) < threshold for other in left]
        near[0] = True
        merged.append(np.mean([m for m, n in zip(left, near, strict=True) if n], axis=0))
        left = [m for m, n in zip(left, near, strict=True) if not n]
    np.testing.assert_allclose(_merged(maps, threshold), merged, rtol=1e-9)


def test_known_groups_are_found() -> None:
    truth = tiny_labels((12, 12), 3)
    labels = cluster(tiny_attention((12, 12), 3)).labels
    assert adjusted_rand_score(truth.flatten().numpy(), labels.flatten().numpy()) == 1


def test_a_larger_threshold_gives_fewer_segments() -> None:
    generator = torch.Generator().manual_seed(0)
    affinity = torch.softmax(3 * torch.randn(144, 144, generator=generator), dim=1)
    attention = AttentionMaps(affinity, torch.rand(12, 12, generator=generator))
    counts = [cluster(attention, threshold=t).num_clusters for t in (0.1, 3.0, 100.0)]
    assert counts[0] > counts[1] >= counts[2] == 1


@pytest.mark.parametrize("grid", [(1, 1), (2, 3)])
def test_few_cells(grid: tuple[int, int]) -> None:
    assert cluster(tiny_attention(grid, 0)).num_clusters == 1
