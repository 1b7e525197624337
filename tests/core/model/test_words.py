"""Learned tokens are named by the nearest words of the vocabulary."""

from __future__ import annotations

from dataclasses import replace

import torch

from uce.core import LearnedConcepts, TokenPlan
from uce.core.model.words import label_words, labels_for, nameable, nearest_words
from uce.testing import tiny_backbone, tiny_concepts


def test_a_token_near_a_word_is_named_by_it():
    backbone = tiny_backbone()
    words = label_words(backbone)
    table = backbone.embedding_table("clip")
    vectors = torch.stack([3 * table[words["boat"]] + 0.01, 0.5 * table[words["lamp"]]])[:, None]
    found = nearest_words(backbone, LearnedConcepts(("<a>", "<b>"), {"clip": vectors}))
    same_row = {word for word, row in words.items() if row in (words["boat"], words["lamp"])}
    assert [len(row) for row in found] == [3, 3]
    assert found[0][0] in same_row and found[1][0] in same_row and found[0][0] != found[1][0]


def test_function_words_colours_and_words_about_pictures_are_no_names():
    assert nameable(["the", "Photo", "boot", "brown", "showing", "photograph", "teapot"]) == ["boot", "teapot"]


def test_no_words_no_names(monkeypatch):
    backbone = tiny_backbone()
    monkeypatch.setattr(backbone, "words", lambda encoder: {})
    assert nearest_words(backbone, LearnedConcepts(("<a>",), {"clip": torch.ones(1, 1, 6)})) == [[]]


def test_the_initializers_label_outranks_a_refiners_and_that_the_models():
    concepts = tiny_concepts(things=2)
    nearest = ["cat", "cup", ""]
    plan = TokenPlan(("<a>", "<b>", "<c>"), {"clip": torch.ones(3, 1, 6)})
    assert labels_for(concepts, plan, nearest) == ["cat", "cup", ""]
    assert labels_for(concepts, plan, None) == labels_for(concepts, None, None) == ["", "", ""]
    refined = replace(concepts, labels=["", "mug", "sky"])
    assert labels_for(refined, plan, nearest) == ["cat", "mug", "sky"]
    assert labels_for(refined, replace(plan, labels=("tiger", "", "")), nearest) == ["tiger", "mug", "sky"]
