"""What every built-in clusterer must do, on any grid and any affinity."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from uce.contrib.diffseg import DiffSegClusterer
from uce.core import AttentionMaps, Clusters, Context
from uce.core.localisation.candidates import candidate_concepts
from uce.plugins.clusterers.finch import FinchClusterer
from uce.plugins.clusterers.hdbscan import HdbscanClusterer
from uce.plugins.clusterers.hierarchical import HierarchicalClusterer
from uce.plugins.clusterers.kmeans import KMeansClusterer
from uce.plugins.clusterers.spectral import SpectralClusterer

CLUSTERERS: list[Any] = [
    FinchClusterer,
    KMeansClusterer,
    HierarchicalClusterer,
    HdbscanClusterer,
    SpectralClusterer,
    DiffSegClusterer,
]
every_clusterer = pytest.mark.parametrize("plugin", CLUSTERERS, ids=lambda plugin: plugin.name)


def cluster(plugin: Any, attention: AttentionMaps, seed: int = 0, **settings: Any) -> Clusters:
    """Call the hook with the arguments that it takes, as pluggy does."""
    hook = plugin().uce_cluster
    given = {
        "attention": attention,
        "image": None,
        "settings": plugin.Settings(**settings),
        "context": Context(seed=seed, stage="clusterer"),
    }
    result = hook(**{name: given[name] for name in inspect.signature(hook).parameters})
    assert isinstance(result, Clusters)
    return result


def from_features(features_hwd: np.ndarray, tau: float = 0.5) -> AttentionMaps:
    height, width, depth = features_hwd.shape
    features = torch.from_numpy(features_hwd.reshape(-1, depth)).float()
    affinity = torch.softmax(-(torch.cdist(features, features) ** 2) / tau, dim=1)
    return AttentionMaps(affinity / affinity.sum(dim=1, keepdim=True), torch.rand(height, width))


def regions(side: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth (side, side) of four quadrants and a centre, and noisy features of each."""
    truth = np.zeros((side, side), int)
    half, quarter = side // 2, side // 4
    truth[:half, half:], truth[half:, :half], truth[half:, half:] = 1, 2, 3
    truth[quarter : side - quarter, quarter : side - quarter] = 4
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(5, 6)) * 2
    return truth, colours[truth] + rng.normal(size=(side, side, 6)) * noise


@every_clusterer
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 2), (3, 5), (4, 4), (16, 16), (7, 30)])
@pytest.mark.parametrize("kind", ["random", "constant", "identity", "blocks"])
def test_any_grid_and_degenerate_affinities_give_clusters(plugin: Any, grid: tuple[int, int], kind: str) -> None:
    num = grid[0] * grid[1]
    affinity = {
        "random": torch.softmax(torch.randn(num, num, generator=torch.Generator().manual_seed(0)), dim=1),
        "constant": torch.full((num, num), 1 / num),
        "identity": torch.eye(num),
        "blocks": torch.softmax(8 * (torch.arange(num)[:, None] % 3 == torch.arange(num)[None] % 3).float(), dim=1),
    }[kind]
    attention = AttentionMaps(affinity, torch.rand(grid))
    clusters = cluster(plugin, attention)
    assert tuple(clusters.labels.shape) == grid
    assert clusters.num_clusters >= 1
    assert clusters.merge_threshold is None or np.isfinite(clusters.merge_threshold)
    if plugin is not HdbscanClusterer:
        assert int(clusters.labels.min()) == 0
    candidates = candidate_concepts(attention, clusters)
    assert len(candidates) == clusters.num_clusters == int(clusters.labels.max()) + 1
    assert torch.equal(candidates.masks.any(dim=0), clusters.labels >= 0)


@every_clusterer
def test_a_constant_affinity_is_one_cluster(plugin: Any) -> None:
    clusters = cluster(plugin, AttentionMaps(torch.full((256, 256), 1 / 256), torch.rand(16, 16)))
    assert (clusters.labels == 0).all()


@every_clusterer
def test_constant_blocks_are_never_torn_apart(plugin: Any) -> None:
    truth, features = regions(16, noise=0)
    labels = cluster(plugin, from_features(features)).labels.numpy()
    for block in range(5):
        assert len(np.unique(labels[truth == block])) == 1, f"block {block}"
    assert len(np.unique(labels)) >= 3


@every_clusterer
def test_clear_regions_are_found(plugin: Any) -> None:
    truth, features = regions(16, noise=0.25)
    wanted = {"min_clusters": 5} if plugin is FinchClusterer else {}
    labels = cluster(plugin, from_features(features), **wanted).labels.numpy()
    told = labels >= 0
    assert told.mean() > 0.6
    purity = sum(np.bincount(truth[labels == label]).max() for label in np.unique(labels[told])) / told.sum()
    assert purity > 0.95


@every_clusterer
def test_the_same_maps_and_seed_give_the_same_labels(plugin: Any) -> None:
    attention = from_features(regions(16, noise=0.5)[1])
    first, second = cluster(plugin, attention, seed=3), cluster(plugin, attention, seed=3)
    assert torch.equal(first.labels, second.labels)
    assert first.merge_threshold == second.merge_threshold


@every_clusterer
def test_a_grid_of_4096_cells_takes_seconds(plugin: Any) -> None:
    features = regions(64, noise=0.5)[1]
    features = np.concatenate([features, np.stack(np.mgrid[0:64, 0:64], axis=-1) / 16], axis=-1)
    attention = from_features(features)
    begin = time.process_time()
    clusters = cluster(plugin, attention)
    assert time.process_time() - begin < 20  # a loose bound: 1 to 3 s on an idle core
    assert clusters.num_clusters >= 2


@pytest.mark.parametrize("plugin", [KMeansClusterer, HierarchicalClusterer], ids=lambda plugin: plugin.name)
def test_a_given_number_of_clusters_is_kept(plugin: Any) -> None:
    attention = from_features(regions(16, noise=0.5)[1])
    for count in (1, 2, 9):
        assert cluster(plugin, attention, clusters=count).num_clusters == count


@pytest.mark.parametrize("plugin", [KMeansClusterer, HierarchicalClusterer], ids=lambda plugin: plugin.name)
def test_the_number_of_clusters_is_chosen_by_the_silhouette(plugin: Any) -> None:
    truth, features = regions(16, noise=0.05)
    clusters = cluster(plugin, from_features(features))
    assert clusters.num_clusters == 5
    assert adjusted_rand_score(truth.ravel(), clusters.labels.flatten().numpy()) == 1


def test_kmeans_does_not_ask_for_more_clusters_than_rows_differ() -> None:
    attention = from_features(regions(8, noise=0)[1])
    assert cluster(KMeansClusterer, attention, clusters=40).num_clusters == 5


def test_hierarchical_regions_are_connected_unless_told_otherwise() -> None:
    from uce.core.localisation.regions import components

    features = np.zeros((8, 8, 1))
    features[:, :2] = features[:, 6:] = 3.0
    features += np.random.default_rng(0).normal(size=features.shape) * 0.1
    attention = from_features(features)
    connected = cluster(HierarchicalClusterer, attention, clusters=3).labels.numpy()
    assert all(components(connected == label)[1] == 1 for label in range(3))
    free = cluster(HierarchicalClusterer, attention, clusters=2, connected=False).labels.numpy()
    assert components(free == free[0, 0])[1] == 2


def test_hdbscan_leaves_cells_out_and_assigns_them_on_request() -> None:
    attention = from_features(regions(16, noise=0.6)[1])
    left_out = cluster(HdbscanClusterer, attention, samples=6)
    assert int(left_out.labels.min()) == -1
    assigned = cluster(HdbscanClusterer, attention, samples=6, assign=True)
    assert int(assigned.labels.min()) == 0
    assert assigned.num_clusters == left_out.num_clusters


@every_clusterer
def test_plugins_describe_themselves_for_the_list(plugin: Any) -> None:
    first_line = (plugin.__doc__ or "").splitlines()[0]
    assert ":" in first_line and len(first_line) < 110
    assert all(field.description for field in plugin.Settings.model_fields.values())


def test_importing_the_plugins_imports_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from uce.plugins.clusterers import finch, given, hdbscan, hierarchical, kmeans, spectral\n"
        "from uce.plugins.refiners import background, edges, merge, none, saliency, smooth, split\n"
        "from uce.plugins.extractors import features, multi_step\n"
        "from uce.contrib import diffseg\n"
        "print([name for name in ('torch', 'numpy', 'sklearn', 'scipy', 'skimage', 'PIL') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
