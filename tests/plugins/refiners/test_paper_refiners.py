"""The refiners `saliency`, `merge` and `none`: what stays, what joins, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from uce.core import AttentionMaps, Clusters, Concepts, StageInputError
from uce.core.localisation.candidates import candidate_concepts
from uce.core.localisation.distance import symmetric_kl
from uce.core.localisation.regions import touching
from uce.plugins.refiners.merge import MergeRefiner
from uce.plugins.refiners.none import NoRefiner
from uce.plugins.refiners.saliency import SaliencyRefiner


def random_case(
    seed: int, side: int = 8, num: int = 6, threshold: float | None = 1.0
) -> tuple[Concepts, AttentionMaps]:
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, side, (num, 2))
    cells = np.stack(np.mgrid[0:side, 0:side], axis=-1)
    labels = np.linalg.norm(cells[:, :, None] - seeds[None, None], axis=-1).argmin(axis=-1)
    labels[rng.random((side, side)) < 0.1] = -1
    affinity = rng.dirichlet(np.full(side * side, 0.5), num + 1)[labels.ravel()] + 1e-6
    attention = AttentionMaps(affinity / affinity.sum(axis=1, keepdims=True), rng.random((side, side)))
    return candidate_concepts(attention, Clusters(labels, merge_threshold=threshold)), attention


def merge(concepts: Concepts, attention: AttentionMaps, **options: Any) -> Concepts:
    return MergeRefiner().uce_refine_masks(concepts, attention, MergeRefiner.Settings(**options))


def filtered(concepts: Concepts, attention: AttentionMaps, **options: Any) -> Concepts:
    return SaliencyRefiner().uce_refine_masks(concepts, attention, SaliencyRefiner.Settings(**options))


def strips(columns: list[int], width: int, maps: np.ndarray, **more: Any) -> tuple[Concepts, AttentionMaps]:
    """One-column masks on a 2-row grid, with the given maps."""
    masks = np.zeros((len(columns), 2, width), bool)
    for mask, column in zip(masks, columns, strict=True):
        mask[:, column] = True
    num = 2 * width
    saliency = torch.linspace(0, 1, num).reshape(2, width)
    return Concepts(masks, maps, np.ones(len(masks)), **more), AttentionMaps(torch.eye(num), saliency)


def bumps(*weights: float, num: int = 12) -> np.ndarray:
    """Distributions (len(weights), num) that move from one half of the cells to the other."""
    first, second = np.zeros(num), np.zeros(num)
    first[: num // 2] = second[num // 2 :] = 2 / num
    mixed = np.stack([(1 - w) * first + w * second for w in weights])
    return (mixed + 1e-4) / (1 + num * 1e-4)


def test_saliency_keeps_what_exceeds_the_picture_and_scores_it() -> None:
    concepts, attention = random_case(0)
    kept = filtered(replace(concepts, scores=torch.zeros(len(concepts))), attention)
    assert 0 < len(kept) < len(concepts)
    assert (kept.scores > 1).all()
    inside = torch.stack([attention.saliency[mask].mean() for mask in kept.masks])
    torch.testing.assert_close(kept.scores.double(), inside / attention.saliency.mean())
    assert kept.merge_threshold == concepts.merge_threshold


def test_the_saliency_threshold_is_strict_and_may_be_lowered() -> None:
    concepts, attention = random_case(1)
    assert len(filtered(concepts, attention, threshold=0)) == len(concepts)
    exact = float(concepts.scores.max())
    with pytest.raises(StageInputError, match=r"no concept scores over .*, the best of \d+ scores .*--refiner merge"):
        filtered(concepts, attention, threshold=exact)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constant_saliency_is_refused_with_the_next_step(level: float) -> None:
    concepts, attention = random_case(2)
    flat = AttentionMaps(attention.affinity, torch.full((8, 8), level))
    with pytest.raises(StageInputError, match=r"same everywhere .*choose --refiner merge or --refiner none"):
        filtered(concepts, flat)


def test_without_concepts_nothing_is_salient() -> None:
    concepts, attention = random_case(3)
    with pytest.raises(StageInputError, match=r"nothing in the picture is salient: .*there were none"):
        filtered(concepts.select([]), attention)


def test_none_gives_back_what_it_got() -> None:
    concepts, _ = random_case(4)
    assert NoRefiner().uce_refine_masks(concepts) is concepts


def test_merge_joins_parts_that_touch_and_agree() -> None:
    concepts, attention = strips([0, 1, 3, 4], 6, bumps(0, 0.05, 0.95, 1), merge_threshold=0.5)
    merged = merge(concepts, attention)
    assert merged.masks.any(dim=1).int().tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]
    torch.testing.assert_close(merged.maps, torch.from_numpy(bumps(0.025, 0.975)).float())
    torch.testing.assert_close(merged.scores[0], attention.saliency[:, :2].mean() / attention.saliency.mean())


def test_merge_leaves_parts_that_agree_but_do_not_touch() -> None:
    concepts, attention = strips([0, 2, 4], 6, bumps(0, 0.05, 0.1), merge_threshold=100.0)
    assert merge(concepts, attention) is concepts


def test_merge_leaves_parts_that_touch_but_do_not_agree() -> None:
    concepts, attention = strips([0, 1], 6, bumps(0, 1), merge_threshold=0.5)
    assert merge(concepts, attention) is concepts
    apart = float(symmetric_kl(concepts.maps.numpy())[0, 1])
    assert len(merge(concepts, attention, threshold=apart * 0.99)) == 2
    assert len(merge(concepts, attention, threshold=apart * 1.01)) == 1


def test_without_a_threshold_touching_decides() -> None:
    concepts, attention = strips([0, 1, 5], 6, bumps(0, 0.6, 1))
    assert concepts.merge_threshold is None
    merged = merge(concepts, attention)
    assert [int(mask.sum()) for mask in merged.masks] == [4, 2]


def test_merge_keeps_words_and_pixel_masks() -> None:
    pixels = np.zeros((3, 4, 12), bool)
    pixels[0, :, :2] = pixels[1, :, 2:4] = pixels[2, :, 10:] = True
    concepts, attention = strips(
        [0, 1, 5], 6, bumps(0, 0.05, 1), merge_threshold=0.5, pixel_masks=pixels, labels=["cup", "cup", "cat"]
    )
    merged = merge(concepts, attention)
    assert merged.labels == ["cup", "cat"]
    assert merged.pixel_masks is not None and merged.pixel_masks.sum(dim=(1, 2)).tolist() == [16, 8]


def test_more_than_ten_concepts_are_fine() -> None:
    concepts, attention = strips(list(range(0, 30, 2)), 30, np.full((15, 60), 1 / 60), merge_threshold=1.0)
    assert len(merge(concepts, attention)) == 15


def test_one_concept_and_no_concept_pass() -> None:
    concepts, attention = random_case(5)
    for few in (concepts.select([0]), concepts.select([])):
        assert merge(few, attention) is few


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), num=st.integers(2, 14), threshold=st.one_of(st.none(), st.floats(0.001, 20)))
def test_merge_only_joins_and_a_lower_threshold_never_joins_strangers(
    seed: int, num: int, threshold: float | None
) -> None:
    concepts, attention = random_case(seed, num=num, threshold=threshold)
    merged = merge(concepts, attention)
    assert 1 <= len(merged) <= len(concepts)
    assert torch.equal(merged.masks.any(dim=0), concepts.masks.any(dim=0))
    torch.testing.assert_close(merged.maps.sum(dim=1), torch.ones(len(merged)))
    pairs = touching(concepts.masks.numpy())
    for mask in merged.masks:
        parts = [index for index, part in enumerate(concepts.masks) if bool((part & mask).any())]
        assert all(bool((concepts.masks[part] & ~mask).any()) is False for part in parts), "parts are never cut"
        reached = {parts[0]}
        while grown := {p for p in parts if p not in reached and any(pairs[p, r] for r in reached)}:
            reached |= grown
        assert reached == set(parts), "what joined hangs together"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999))
def test_the_order_of_concepts_does_not_change_what_joins(seed: int) -> None:
    concepts, attention = random_case(seed, num=8, threshold=2.0)
    order = np.random.default_rng(seed).permutation(len(concepts)).tolist()
    first, second = merge(concepts, attention), merge(concepts.select(order), attention)
    assert {mask.numpy().tobytes() for mask in first.masks} == {mask.numpy().tobytes() for mask in second.masks}


@pytest.mark.parametrize("plugin", [SaliencyRefiner, MergeRefiner, NoRefiner], ids=lambda plugin: plugin.name)
def test_settings_are_described_and_bounded(plugin: Any) -> None:
    assert all(field.description for field in plugin.Settings.model_fields.values())
    assert ":" in (plugin.__doc__ or "").splitlines()[0]
    with pytest.raises(ValidationError, match="threshold"):
        plugin.Settings(threshold=-1)
