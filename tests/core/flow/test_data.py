"""Data between the stages: what is wrong is said where it is made, in a sentence that helps."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from uce.core import AttentionMaps, Clusters, Concepts, LearnedConcepts, StageInputError, TokenPlan
from uce.testing import tiny_concepts

NAN = float("nan")


def maps(affinity: Any = None, saliency: Any = None) -> AttentionMaps:
    return AttentionMaps(
        affinity=torch.full((6, 6), 1 / 6) if affinity is None else affinity,
        saliency=torch.rand(2, 3) if saliency is None else saliency,
    )


def concepts(**changes: Any) -> Concepts:
    given: dict[str, Any] = {
        "masks": torch.eye(2, dtype=torch.bool)[:, None],
        "maps": torch.full((2, 2), 0.5),
        "scores": torch.ones(2),
    }
    return Concepts(**given | changes)


def plan(**changes: Any) -> TokenPlan:
    return TokenPlan(**{"tokens": ("<a>", "<b>"), "starts": {"clip": torch.zeros(2, 3, 4)}} | changes)


def learned(**changes: Any) -> LearnedConcepts:
    return LearnedConcepts(**{"tokens": ("<a>", "<b>"), "embeddings": {"clip": torch.zeros(2, 1, 4)}} | changes)


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: maps(affinity=torch.ones(6)), "affinity must have 2 axes, found shape (6,)"),
    (lambda: maps(saliency=torch.ones(6)), "saliency must have 2 axes, found shape (6,)"),
    (lambda: maps(affinity="abc"), "affinity must be a torch tensor or numpy array of numbers, found"),
    (lambda: maps(affinity=None, saliency=[[None]]), "saliency must be a torch tensor or numpy array of numbers"),
    (
        lambda: maps(affinity=torch.eye(5)),
        "affinity must be (6, 6) for a saliency of (2, 3), found (5, 5)",
    ),
    (
        lambda: maps(affinity=torch.zeros(0, 0), saliency=torch.zeros(0, 3)),
        "saliency is empty, found shape (0, 3); the grid needs cells",
    ),
    (
        lambda: maps(affinity=torch.full((6, 6), NAN)),
        "affinity holds values that are not finite; look for NaN or overflow where it is made",
    ),
    (lambda: maps(saliency=torch.full((2, 3), float("inf"))), "saliency holds values that are not finite"),
    (
        lambda: maps(affinity=torch.tensor([[1.5, -0.5], [0.5, 0.5]]), saliency=torch.zeros(1, 2)),
        "affinity must not be negative, found -0.5",
    ),
    (
        lambda: maps(affinity=torch.tensor([[1.0, 0.0], [0.5, 0.25]]), saliency=torch.zeros(1, 2)),
        "affinity rows must sum to 1, row 1 sums to 0.75; divide rows by their sums",
    ),
    (
        lambda: maps(saliency=torch.full((2, 3), 2.0)),
        "saliency must lie in [0, 1], found [2, 2]; normalise it first",
    ),
    (lambda: Clusters(torch.zeros(4).long()), "labels must have 2 axes, found shape (4,)"),
    (lambda: Clusters(torch.zeros(2, 2)), "labels must be integers, found torch.float32; convert them with .long()"),
    (lambda: Clusters(torch.zeros(2, 2).bool()), "labels must be integers, found torch.bool"),
    (lambda: Clusters(np.zeros((2, 2), complex)), "labels must be integers, found torch.complex128"),
    (lambda: Clusters(torch.full((2, 2), -2)), "labels start at 0, -1 means unassigned; found -2"),
    (
        lambda: concepts(masks=torch.ones(2, 1, 2)),
        "masks must be boolean, found torch.float32; compare it with a threshold first",
    ),
    (lambda: concepts(masks=torch.ones(1, 2).bool()), "masks must have 3 axes, found shape (1, 2)"),
    (lambda: concepts(maps=torch.ones(2, 3)), "maps must be (2, 2), found (2, 3)"),
    (lambda: concepts(maps=torch.full((2, 2), NAN)), "maps holds values that are not finite"),
    (lambda: concepts(scores=torch.ones(3)), "scores must hold 2 values, found 3"),
    (
        lambda: concepts(masks=torch.ones(2, 1, 2).bool()),
        "masks overlap; every cell belongs to at most one concept",
    ),
    (lambda: concepts(pixel_masks=torch.ones(2, 4, 4)), "pixel_masks must be boolean"),
    (lambda: concepts(pixel_masks=torch.zeros(1, 4, 4).bool()), "pixel_masks must hold 2 masks, found 1"),
    (lambda: concepts(pixel_masks=torch.ones(2, 4, 4).bool()), "pixel_masks overlap"),
    (lambda: concepts(labels=["cup"]), "labels must hold 2 words, found 1"),
    (lambda: plan(starts={}), "starts is empty; give one (K, S, d) tensor per text encoder"),
    (lambda: plan(starts={"clip": torch.zeros(2, 4)}), "starts['clip'] must have 3 axes, found shape (2, 4)"),
    (
        lambda: plan(starts={"clip": torch.zeros(3, 1, 4)}),
        "starts['clip'] must be (2, S, d), or (.., n, d) for n vectors, "
        "with the same S and n everywhere, found (3, 1, 4)",
    ),
    (
        lambda: plan(starts={"clip_l": torch.zeros(2, 1, 4), "clip_g": torch.zeros(2, 2, 8)}),
        "starts['clip_g'] must be (2, S, d), or (.., n, d) for n vectors, "
        "with the same S and n everywhere, found (2, 2, 8)",
    ),
    (lambda: plan(starts={"clip": torch.full((2, 1, 4), NAN)}), "starts['clip'] holds values that are not finite"),
    (lambda: plan(merge_step=-1), "merge_step must not be negative, found -1"),
    (lambda: learned(embeddings={}), "embeddings is empty; give one (K, n, d) tensor per text encoder"),
    (
        lambda: learned(embeddings={"clip": torch.zeros(3, 1, 4)}),
        "embeddings['clip'] must hold 2 concepts, found (3, 1, 4)",
    ),
    (lambda: learned(embeddings={"clip": torch.full((2, 1, 4), NAN)}), "embeddings['clip'] holds values that are not"),
]


@pytest.mark.parametrize(("make", "text"), [pytest.param(make, text, id=text[:60]) for make, text in BAD])
def test_what_is_wrong_is_said(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(StageInputError, match=re.escape(text)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_numpy_is_copied_and_torch_detached() -> None:
    affinity = np.full((2, 2), 0.5)
    made = AttentionMaps(affinity, np.zeros((1, 2)))
    affinity[:] = 7
    assert made.affinity.dtype == torch.float64 and float(made.affinity.max()) == 0.5
    assert not AttentionMaps(torch.eye(2, requires_grad=True), torch.zeros(1, 2)).affinity.requires_grad


def test_half_precision_and_integers_are_widened() -> None:
    half = torch.full((2, 2), 0.5)
    for dtype in (torch.float16, torch.bfloat16):
        assert AttentionMaps(half.to(dtype), torch.zeros(1, 2, dtype=dtype)).affinity.dtype == torch.float32
    assert AttentionMaps(torch.eye(2, dtype=torch.int64), torch.zeros(1, 2)).affinity.dtype == torch.float32


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type(dtype: Any) -> None:
    clusters = Clusters(np.array([[0, 3], [3, 1]], dtype))
    assert clusters.labels.dtype == torch.int64 and clusters.num_clusters == 3
    assert clusters.merge_threshold is None


def test_unassigned_cells_are_no_cluster() -> None:
    assert Clusters(torch.tensor([[-1, 5]])).num_clusters == 1


def test_data_is_frozen() -> None:
    for made, name in ((maps(), "affinity"), (concepts(), "masks"), (plan(), "tokens"), (learned(), "tokens")):
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(made, name, None)


def test_select_keeps_rows_together() -> None:
    all_of_them = dataclasses.replace(
        tiny_concepts(), labels=["floor", "cup", "cat"], pixel_masks=tiny_concepts().masks, merge_threshold=2.0
    )
    chosen = all_of_them.select([2, 0])
    assert chosen.labels == ["cat", "floor"] and chosen.merge_threshold == 2.0 and len(chosen) == 2
    assert torch.equal(chosen.masks[0], all_of_them.masks[2]) and torch.equal(chosen.maps[1], all_of_them.maps[0])
    assert chosen.pixel_masks is not None and torch.equal(chosen.pixel_masks, chosen.masks)
    assert len(all_of_them.select([])) == 0 and all_of_them.select([]).grid == all_of_them.grid


def test_shapes_people_ask_for() -> None:
    assert maps().grid == (2, 3) and concepts().grid == (1, 2)
    assert plan().num_splits == 3 and plan(tokens=["<a>", "<b>"]).tokens == ("<a>", "<b>")
    rows = learned(embeddings={"clip": torch.arange(8, dtype=torch.float64).reshape(2, 1, 4)})
    assert rows.of(1)["clip"].tolist() == [[4, 5, 6, 7]] and rows.of(1)["clip"].dtype == torch.float32
    assert learned(history=[{"update": 1}]).history == ({"update": 1},)
