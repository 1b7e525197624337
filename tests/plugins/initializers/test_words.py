"""The user's words become starts and labels; what does not fit is one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from uce.core import Context, StageInputError
from uce.plugins.initializers.words import WordsInitializer
from uce.testing import check_plugin, tiny_concepts


def plan_of(backbone: Any, words: Any, things: int = 1) -> Any:
    settings = WordsInitializer.Settings(words=words)
    return WordsInitializer().uce_initialize_tokens(tiny_concepts(things=things), backbone, settings, Context())


def test_keeps_the_contract():
    check_plugin(WordsInitializer, settings={"words": ["cup"]})


def test_words_are_starts_and_labels(tiny_backbone):
    plan = plan_of(tiny_backbone, "cup, dog")
    table = tiny_backbone.embedding_table("clip")
    assert plan.labels == ("cup", "dog") and plan.starts["clip"].shape == (2, 1, 16)
    for row, word in enumerate(plan.labels):
        (token,) = tiny_backbone.word_ids(word, "clip")
        assert torch.equal(plan.starts["clip"][row, 0], table[token])


def test_several_pieces_start_from_their_mean(tiny_backbone):
    plan = plan_of(tiny_backbone, ["red  cup", "dog"])
    ids = tiny_backbone.word_ids("red cup", "clip")
    assert len(ids) == 2 and plan.labels == ("red cup", "dog")
    assert torch.allclose(plan.starts["clip"][0, 0], tiny_backbone.embedding_table("clip")[ids].mean(dim=0))


def test_one_word_serves_all(tiny_backbone):
    plan = plan_of(tiny_backbone, "cup", things=3)
    assert plan.labels == ("cup",) * 4 and torch.equal(plan.starts["clip"][0], plan.starts["clip"][3])


@pytest.mark.parametrize(("words", "things"), [("cup,dog", 2), ("cup,dog,cat", 1)])
def test_another_number_of_words(tiny_backbone, words, things):
    with pytest.raises(StageInputError, match=rf"names {words.count(',') + 1} words .* {things + 1} concepts; give"):
        plan_of(tiny_backbone, words, things)


def test_a_word_that_the_model_would_spell(tiny_backbone):
    with pytest.raises(StageInputError, match=r"does not know the word 'cups' .* nearest that it knows: cup"):
        plan_of(tiny_backbone, "dog,cups")
    with pytest.raises(StageInputError, match=r"does not know the word 'xyz' .* such as object"):
        plan_of(tiny_backbone, "dog,red xyz")


@pytest.mark.parametrize("words", [[], "", "cup,,dog", ["cup", " "]])
def test_no_word(words):
    with pytest.raises(ValidationError, match=r"must name a word per concept, such as initializer\.words=cup,toy cat"):
        WordsInitializer.Settings(words=words)
