"""Spectral clustering: the eigengap finds how many, whatever the shape; `test_all_clusterers.py` has the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from uce.core import AttentionMaps, Context
from uce.plugins.clusterers.spectral import SpectralClusterer, _eigengap, _leading
from uce.testing import check_plugin


def cluster(attention: AttentionMaps, **settings: Any) -> Any:
    plugin = SpectralClusterer()
    return plugin.uce_cluster(attention, plugin.Settings(**settings), Context(seed=0, stage="clusterer"))


def chains(grid: int, groups: int) -> tuple[np.ndarray, AttentionMaps]:
    """Concentric frames whose cells attend to their neighbours within the frame alone: no two rows are alike."""
    y, x = np.mgrid[0:grid, 0:grid]
    ring = np.minimum.reduce([y, x, grid - 1 - y, grid - 1 - x]) * 2 * groups // grid
    same = ring.ravel()[:, None] == ring.ravel()[None]
    apart = np.hypot(y.ravel()[:, None] - y.ravel()[None], x.ravel()[:, None] - x.ravel()[None])
    weights = np.where(same, 1.0, 0.002) * np.exp(-apart / 2) + 1e-6
    affinity = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()
    return ring, AttentionMaps(affinity, torch.rand(grid, grid, generator=torch.Generator().manual_seed(0)))


def test_contract() -> None:
    check_plugin(SpectralClusterer)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_the_eigengap_finds_blocks_that_nearly_do_not_attend_to_each_other(groups: int) -> None:
    truth = np.arange(144) * groups // 144
    same = truth[:, None] == truth[None]
    weights = np.where(same, 1.0, 0.05) * (1 + 0.5 * np.random.default_rng(0).random((144, 144)))
    affinity = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()
    clusters = cluster(AttentionMaps(affinity, torch.rand(12, 12)))
    assert clusters.num_clusters == groups
    assert adjusted_rand_score(truth, clusters.labels.flatten().numpy()) == 1


def test_frames_within_frames_are_told_apart() -> None:
    truth, attention = chains(12, 2)
    labels = cluster(attention, clusters=2).labels.numpy()
    assert adjusted_rand_score(truth.ravel(), labels.ravel()) > 0.9


def test_a_large_grid_has_the_eigenvalues_of_the_dense_solver() -> None:
    _, attention = chains(24, 3)  # 576 cells: beyond what is solved densely
    affinity = attention.affinity.numpy()
    values, vectors = _leading(affinity, 6, seed=1)
    weights = (affinity + affinity.T).astype(np.float64) / 2
    scale = 1 / np.sqrt(weights.sum(axis=1))
    matrix = weights * scale[:, None] * scale[None]
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1][:6], atol=1e-5)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-4)


def test_repeated_eigenvalues_of_alike_groups_are_all_found() -> None:
    groups = torch.arange(576) // 144
    same = (groups[:, None] == groups[None]).float()
    assert cluster(AttentionMaps(same / 144, torch.rand(24, 24))).num_clusters == 4


def test_identity_rows_on_a_large_grid_still_give_clusters() -> None:
    clusters = cluster(AttentionMaps(torch.eye(576), torch.rand(24, 24)))
    assert clusters.num_clusters >= 2


def test_the_count_is_where_eigenvalues_fall_most_and_at_least_two() -> None:
    assert _eigengap(np.array([1.0, 0.2, 0.1, 0.0])) == 2
    assert _eigengap(np.array([1.0, 0.98, 0.97, 0.2, 0.1])) == 3
    assert _eigengap(np.array([1.0, 0.5])) == 2


def test_a_given_number_is_kept() -> None:
    _, attention = chains(12, 3)
    assert [cluster(attention, clusters=count).num_clusters for count in (1, 2, 5, 20)] == [1, 2, 5, 20]
