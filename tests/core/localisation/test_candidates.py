"""Candidate concepts, their scores, and masks on the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uce.core import AttentionMaps, Clusters, Concepts, StageInputError
from uce.core.localisation.candidates import candidate_concepts, saliency_scores, with_masks
from uce.core.localisation.regions import components, touching, union


def attention(grid: tuple[int, int], seed: int = 0) -> AttentionMaps:
    generator = torch.Generator().manual_seed(seed)
    num = grid[0] * grid[1]
    return AttentionMaps(
        torch.softmax(torch.randn(num, num, generator=generator), dim=1), torch.rand(grid, generator=generator)
    )


def test_one_concept_per_cluster_with_the_mean_of_its_rows() -> None:
    maps = attention((3, 4))
    labels = torch.tensor([[7, 7, -1, 2], [7, 2, 2, 2], [5, 5, -1, -1]])
    concepts = candidate_concepts(maps, Clusters(labels, merge_threshold=0.5))
    assert len(concepts) == 3 and concepts.merge_threshold == 0.5
    for index, name in enumerate([2, 5, 7]):
        inside = labels == name
        assert torch.equal(concepts.masks[index], inside)
        mean = maps.affinity[inside.flatten()].double().mean(dim=0)
        torch.testing.assert_close(concepts.maps[index], mean.float())
        expected = maps.saliency[inside].mean() / maps.saliency.mean()
        torch.testing.assert_close(concepts.scores[index], expected)


def test_without_any_cluster_the_error_says_what_to_do() -> None:
    with pytest.raises(StageInputError, match=r"left every cell unassigned.*--clusterer finch"):
        candidate_concepts(attention((2, 2)), Clusters(torch.full((2, 2), -1)))


def test_labels_of_another_grid_are_refused() -> None:
    with pytest.raises(StageInputError, match=r"must be \(2, 2\) like the saliency, found \(2, 3\)"):
        candidate_concepts(attention((2, 2)), Clusters(torch.zeros(2, 3, dtype=torch.int64)))


def test_scores_where_nothing_stands_out_and_of_an_empty_mask() -> None:
    masks = torch.zeros(2, 2, 2, dtype=torch.bool)
    masks[0, 0] = True
    assert saliency_scores(masks, torch.zeros(2, 2)).tolist() == [1, 1]
    assert saliency_scores(masks, torch.tensor([[1.0, 0.5], [0.0, 0.0]])).tolist() == [2, 0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), rows=st.integers(1, 7), columns=st.integers(1, 7), num=st.integers(1, 5))
def test_touching_is_when_the_union_has_fewer_parts(seed: int, rows: int, columns: int, num: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, num, (rows, columns))
    masks = labels[None] == np.arange(num)[:, None, None]
    pairs = touching(masks)
    for i in range(num):
        for j in range(num):
            joined = ndimage.label(masks[i] | masks[j])[1]
            fewer = joined < components(masks[i])[1] + components(masks[j])[1]
            assert pairs[i, j] == (i != j and fewer)


def test_corners_do_not_touch() -> None:
    masks = np.zeros((2, 2, 2), bool)
    masks[0, 0, 0] = masks[1, 1, 1] = True
    assert not touching(masks).any()
    assert components(masks.any(axis=0))[1] == 2


def test_union_by_label() -> None:
    masks = np.eye(4, dtype=bool).reshape(4, 2, 2)
    joined = union(masks, np.array([0, 1, 0, 1]))
    assert joined.reshape(2, 4).tolist() == [[True, False, True, False], [False, True, False, True]]


def test_masks_that_did_not_change_keep_everything() -> None:
    maps = attention((2, 2))
    masks = torch.eye(4, dtype=torch.bool).reshape(4, 2, 2)[:2]
    concepts = Concepts(masks, torch.ones(2, 4), torch.tensor([3.0, 4.0]), labels=["cup", "cat"], merge_threshold=1.0)
    assert with_masks(concepts, masks.numpy(), [0, 1], maps) is concepts
    wider = masks.numpy().copy()
    wider[1, 1, 0] = True
    changed = with_masks(concepts, wider, [0, 1], maps)
    assert changed.scores[0] == 3 and torch.equal(changed.maps[0], concepts.maps[0])
    torch.testing.assert_close(changed.maps[1], maps.affinity[[1, 2]].mean(dim=0))
    torch.testing.assert_close(changed.scores[1], maps.saliency.flatten()[[1, 2]].mean() / maps.saliency.mean())
    assert changed.labels == ["cup", "cat"] and changed.merge_threshold == 1.0
