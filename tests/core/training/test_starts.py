"""Random starts: distinct rows of the vocabulary, the same words for encoders that share one."""

from __future__ import annotations

import torch

from uce.core import Context
from uce.core.training.starts import concept_tokens, random_starts, ranked_starts
from uce.testing import tiny_backbone


def test_names() -> None:
    assert concept_tokens(3) == ("<asset0>", "<asset1>", "<asset2>")


def test_starts_are_distinct_rows_of_the_vocabulary() -> None:
    backbone = tiny_backbone()
    table = backbone.embedding_table("clip")
    starts = random_starts(backbone, 3, 5, Context(seed=1))["clip"]
    assert starts.shape == (3, 5, table.shape[1]) and starts.dtype == torch.float32
    rows = [int((table == row).all(dim=1).nonzero()[0, 0]) for row in starts.flatten(0, 1)]
    assert len(set(rows)) == 15 and not set(rows) & set(backbone.tokenize("").ids["clip"].tolist())


def test_the_seed_decides() -> None:
    backbone = tiny_backbone()
    first, again, other = (random_starts(backbone, 2, 2, Context(seed=seed))["clip"] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_encoders_of_one_vocabulary_start_from_the_same_words() -> None:
    backbone = tiny_backbone(("clip_l", "clip_g"))
    starts = random_starts(backbone, 2, 3, Context(seed=4))
    places = [
        [int((backbone.embedding_table(name) == row).all(dim=1).nonzero()[0, 0]) for row in starts[name].flatten(0, 1)]
        for name in backbone.encoders
    ]
    assert places[0] == places[1]


def test_more_starts_than_words_repeat_them() -> None:
    backbone = tiny_backbone()
    wanted = backbone.embedding_table("clip").shape[0] + 10
    assert random_starts(backbone, wanted, 1, Context(seed=0))["clip"].shape[0] == wanted


def test_several_vectors_are_distinct_words_too() -> None:
    backbone = tiny_backbone()
    starts = random_starts(backbone, 2, 2, Context(seed=1), 3)["clip"]
    assert starts.shape[:3] == (2, 2, 3) and len(torch.unique(starts.flatten(0, 2), dim=0)) == 12


def test_ranked_words_each_split_begins_with_one_of_the_best() -> None:
    words = {"clip": torch.arange(8.0)[:, None]}
    order = torch.tensor([[5, 1, 0, 2, 3, 4, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]])
    assert ranked_starts(words, order, 2)["clip"][..., 0].tolist() == [[5, 1], [7, 6]]
    several = ranked_starts(words, order, 2, 3)["clip"][..., 0]
    assert several.tolist() == [[[5, 0, 3], [1, 2, 4]], [[7, 5, 3], [6, 4, 2]]]
