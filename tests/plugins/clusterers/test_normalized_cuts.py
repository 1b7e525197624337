"""Foreground and cuts on maps whose things are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import uce
from uce.core import AttentionMaps, Clusters, Context
from uce.core.flow.picture import read_picture
from uce.plugins.clusterers.normalized_cuts import NormalizedCutsClusterer
from uce.testing import check_plugin

GRID = 16


def cluster(attention: AttentionMaps, image: Any = None, seed: int = 0, **settings: Any) -> Clusters:
    plugin = NormalizedCutsClusterer()
    chosen = plugin.Settings(**{"cost": 0.03, "threshold": 1.0} | settings)  # maps made by hand are blurred
    return plugin.uce_cluster(attention, image, chosen, Context(seed=seed, stage="clusterer"))


def maps_of(truth: np.ndarray, saliency: np.ndarray | None = None, kinds: np.ndarray | None = None) -> AttentionMaps:
    """Cells attend to cells of their own kind, nearer ones more; things (above 0) are salient."""
    kind = (truth if kinds is None else kinds).ravel()
    y, x = (axis.ravel() for axis in np.indices(truth.shape))
    apart = np.hypot(y[:, None] - y[None], x[:, None] - x[None])
    weights = np.where(kind[:, None] == kind[None], 1.0, 0.02) * np.exp(-apart / 8)
    affinity = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()
    shown = (truth > 0).astype(float) if saliency is None else saliency
    return AttentionMaps(affinity, torch.from_numpy(shown).float())


def two_things(gap: int) -> np.ndarray:
    truth = np.zeros((GRID, GRID), int)
    truth[5:11, 2:7] = 1
    truth[5:11, 7 + gap : 12 + gap] = 2
    return truth


def test_contract() -> None:
    check_plugin(NormalizedCutsClusterer)


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_things_that_touch_are_cut_where_attention_is_weak(gap: int) -> None:
    truth = two_things(gap)
    labels = cluster(maps_of(truth)).labels.numpy()
    assert np.array_equal(labels[truth > 0], truth[truth > 0] - 1)
    assert (labels[truth == 0] >= 0).sum() < 6  # of 196: outlines may bulge by a cell


def seen(truth: np.ndarray, pixels: int = 8) -> Any:
    """A picture of that: things red on grey."""
    colours = np.array([[120, 120, 120], [200, 30, 30]], np.uint8)
    return read_picture(colours[np.kron(np.minimum(truth, 1), np.ones((pixels, pixels), int))], 128, "stretch")


def test_two_alike_things_beside_each_other_stay_two() -> None:
    truth = two_things(1)
    attention = maps_of(truth, kinds=np.minimum(truth, 1))
    assert np.array_equal(cluster(attention, cost=0.07).labels.numpy(), truth - 1)
    labels = cluster(attention, seen(truth)).labels.numpy()
    assert np.array_equal(labels[truth > 0], truth[truth > 0] - 1), "the gap in the picture tells them apart"
    numbers = [cluster(attention, seen(truth), cost=0.01, gap=gap).num_clusters for gap in (0, 6)]
    assert numbers == [1, 2]


def test_little_that_comes_off_easily_is_a_part() -> None:
    truth = np.zeros((GRID, GRID), int)
    truth[4:12, 2:10] = 1
    truth[7:9, 10:12] = 2
    attention = maps_of(truth)
    numbers = [cluster(attention, growth=growth).num_clusters for growth in (0, 0.6, 2)]
    assert numbers == [2, 2, 1]


def test_what_has_no_outline_in_the_picture_is_background() -> None:
    truth = two_things(4)
    attention, picture = maps_of(truth), seen(truth == 1)
    assert np.array_equal(cluster(attention, picture).labels.numpy() == 0, truth == 1)
    assert cluster(attention, picture).num_clusters == 1
    assert cluster(attention, picture, outline=1).num_clusters == cluster(attention).num_clusters == 2
    assert cluster(attention, seen(truth == 3)).num_clusters == 2, "where nothing has one, nothing is dropped"


def test_one_thing_of_one_kind_is_not_cut_whatever_its_size() -> None:
    for side in (3, 6, 12, 15):
        truth = np.zeros((GRID, GRID), int)
        truth[:side, :side] = 1
        assert cluster(maps_of(truth)).num_clusters == 1, side


def test_a_higher_cost_cuts_more() -> None:
    attention = maps_of(two_things(0))
    numbers = [cluster(attention, cost=cost).num_clusters for cost in (0, 0.06, 0.5, 2)]
    assert numbers == sorted(numbers) and numbers[0] == 1 and numbers[-1] > 2


def test_specks_and_faint_things_are_left_out() -> None:
    truth = two_things(2)
    truth[0, 15] = 3
    saliency = np.select([truth == 1, truth == 2, truth == 3], [1.0, 0.45, 1.0], 0.0)
    attention = maps_of(truth, saliency)
    assert np.array_equal(cluster(attention, smallest=0.01, threshold=0.5).labels.numpy() >= 0, truth == 1)
    both = cluster(attention, smallest=0.01, threshold=0.5, faintest=0.3).labels.numpy() >= 0
    assert np.array_equal(both, (truth == 1) | (truth == 2))


def test_padding_is_no_foreground() -> None:
    truth = np.zeros((GRID, GRID), int)
    truth[6:10, 4:9] = 1
    saliency = (truth > 0).astype(float)
    saliency[:4] = 1.0  # what the model sees in the padding
    kinds = truth.copy()
    kinds[:4] = 3
    picture = read_picture(np.zeros((128, 256, 3), np.uint8), 128, "pad")
    labels = cluster(maps_of(truth, saliency, kinds), picture).labels.numpy()
    assert np.array_equal(labels >= 0, truth == 1)


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 2), (3, 5), (16, 16), (7, 30)])
@pytest.mark.parametrize("kind", ["random", "constant", "identity"])
@pytest.mark.parametrize("flat", [True, False])
def test_any_grid_and_degenerate_maps_give_a_cluster(grid: tuple[int, int], kind: str, flat: bool) -> None:
    num = grid[0] * grid[1]
    generator = torch.Generator().manual_seed(0)
    affinity = {
        "random": torch.softmax(torch.randn(num, num, generator=generator), dim=1),
        "constant": torch.full((num, num), 1 / num),
        "identity": torch.eye(num),
    }[kind]
    saliency = torch.full(grid, 0.5) if flat else torch.rand(grid, generator=generator)
    clusters = cluster(AttentionMaps(affinity, saliency))
    assert tuple(clusters.labels.shape) == grid
    assert clusters.num_clusters == int(clusters.labels.max()) + 1 >= 1
    again = cluster(AttentionMaps(affinity, saliency))
    assert torch.equal(again.labels, clusters.labels)


def test_mirrored_maps_give_mirrored_masks() -> None:
    truth = two_things(1)
    mirrored = cluster(maps_of(truth[:, ::-1].copy())).labels.numpy()[:, ::-1]
    assert np.array_equal(mirrored >= 0, cluster(maps_of(truth)).labels.numpy() >= 0)


def test_merge_and_split_leave_the_things_as_they_are() -> None:
    truth = two_things(0)
    chain = ["saliency", "merge", "split"]
    concepts = uce.localize(maps_of(truth), clusterer="normalized-cuts", refiner=chain)
    assert np.array_equal(np.asarray(concepts.masks), np.stack([truth == 1, truth == 2]))


def test_sides_cross_where_colours_differ_and_the_line_that_joins_them_is_short() -> None:
    from uce.plugins.clusterers.normalized_cuts import _cross

    truth = np.zeros((GRID, GRID), int)
    truth[2:8, 2:8], truth[7:13, 8:14] = 1, 2  # two squares that meet along one cell
    first, second = (np.flatnonzero(truth.ravel() == side) for side in (1, 2))
    red_and_green = np.array([[0, 0, 0], [25, 60, 40], [25, -50, 40]], float)[truth]
    alike = np.array([[0, 0, 0], [25, 60, 40], [25, 58, 40]], float)[truth]
    assert _cross(first, second, red_and_green) and not _cross(first, second, alike)
    truth[1:9, 1:9] = np.where(truth[1:9, 1:9] == 1, 1, 2)  # now one lies within the other
    around = np.flatnonzero(truth.ravel() == 2)
    assert not _cross(first, around, np.array([[0, 0, 0], [25, 60, 40], [25, -50, 40]], float)[truth])
