"""Stage data as tensors and plain values: back as it was, and known by its content."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from uce.core import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
from uce.core.flow.serial import StageData, content_digest, dump, parse
from uce.testing import tiny_attention, tiny_concepts

VECTORS = torch.arange(12.0).reshape(2, 1, 6)
DATA: list[StageData] = [
    tiny_attention(),
    Clusters(torch.arange(16).reshape(4, 4) - 1, merge_threshold=0.5),
    tiny_concepts(),
    TokenPlan(("<a>", "<b>"), {"clip_l": VECTORS, "clip_g": VECTORS * 2}, merge_step=3),
    LearnedConcepts(("<a>", "<b>"), {"clip": VECTORS}, history=({"update": 1, "loss": 0.5},)),
]


def same(first: StageData, second: StageData) -> None:
    assert type(first) is type(second)
    for field in dataclasses.fields(first):
        one, two = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, torch.Tensor):
            assert one.dtype == two.dtype and torch.equal(one, two), field.name
        elif isinstance(one, dict) and any(isinstance(value, torch.Tensor) for value in one.values()):
            assert list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)
        else:
            assert one == two, field.name


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
def test_there_and_back_through_json(data: StageData) -> None:
    tensors, values = dump(data)
    same(parse(tensors, json.loads(json.dumps(values))), data)


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
def test_the_digest_is_of_the_content(data: StageData) -> None:
    tensors, values = dump(data)
    again = parse({name: tensor.clone() for name, tensor in tensors.items()}, values)
    assert content_digest(again) == content_digest(data)


def test_a_changed_entry_changes_the_digest() -> None:
    attention = tiny_attention()
    saliency = attention.saliency.clone()
    saliency[0, 0] = 0.5 * saliency[0, 0] + 0.25
    assert content_digest(AttentionMaps(attention.affinity, saliency)) != content_digest(attention)
    concepts = tiny_concepts()
    assert content_digest(Concepts(concepts.masks, concepts.maps, concepts.scores)) != content_digest(attention)


def test_another_kind_is_no_stage_data() -> None:
    with pytest.raises(KeyError, match="Nonsense"):
        parse({}, {"kind": "Nonsense"})
