"""Words of the vocabulary that fit are found, and listed as the nearest ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from uce.core import Concepts, Context, StageInputError
from uce.core.model.words import label_words, nameable, vocabulary_words, word_vectors
from uce.core.training.word_scores import masked_errors, word_attention
from uce.plugins.initializers.nearest_words import NearestWordsInitializer
from uce.testing import check_plugin, tiny_concepts, tiny_picture
from uce.testing import tiny_backbone as double


@pytest.fixture
def scene(tiny_backbone: Any) -> Any:
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, :8, :8] = masks[1, 9:, 4:] = True
    picture = SimpleNamespace(pixels=torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    concepts = Concepts(masks=masks, maps=masks.float().flatten(1) + 0.1, scores=torch.ones(2))
    return SimpleNamespace(backbone=tiny_backbone, concepts=concepts, picture=picture)


def plan_of(scene: Any, **given: Any) -> Any:
    settings = NearestWordsInitializer.Settings(**given)
    concepts = given.pop("concepts", scene.concepts)
    return NearestWordsInitializer().uce_initialize_tokens(concepts, scene.backbone, scene.picture, settings, Context())


@pytest.mark.parametrize("settings", [{}, {"by": "attention"}, {"split_tokens": 3, "shortlist": 2}])
def test_keeps_the_contract(settings):
    check_plugin(NearestWordsInitializer, settings=settings)


def test_candidates_are_complete_words(tiny_backbone):
    known = {"photo", "picture", "and", "cat", "dog", "red", "blue", "cup", "the", "asset"}
    words = label_words(tiny_backbone)
    assert set(words) == known, "no pieces, no single letters, nothing shorter than three"
    assert all(tiny_backbone.word_ids(word, "clip") == [row] for word, row in words.items())
    assert list(words.values()) == sorted(words.values())
    assert vocabulary_words(tiny_backbone, 4) == list(words)[:4]


def test_best_by_denoising_among_all(scene):
    """With a shortlist as long as the vocabulary attention decides nothing."""
    plan = plan_of(scene, shortlist=100, noise_levels=2)
    words = vocabulary_words(scene.backbone, 100)
    vectors = word_vectors(scene.backbone, words)
    errors = masked_errors(
        scene.backbone, scene.picture.pixels, scene.concepts.masks, vectors, 2, "a photo of {}", Context()
    )
    order = errors.argsort(dim=1, stable=True).tolist()
    assert plan.labels is None, "the best word may be wrong, and is no name"
    assert plan.nearest == tuple(tuple(nameable(words[i] for i in row)[:3]) for row in order)
    assert torch.equal(plan.starts["clip"][:, 0], vectors["clip"][[row[0] for row in order]])


def test_best_by_attention(scene):
    plan = plan_of(scene, by="attention", split_tokens=2)
    words = vocabulary_words(scene.backbone, 100)
    vectors = word_vectors(scene.backbone, words)
    scores = word_attention(scene.backbone, scene.picture.pixels, scene.concepts.masks, vectors, Context())
    best = scores.argsort(dim=1, descending=True)[:, :2]
    assert plan.nearest is not None and not {"and", "the", "red", "blue", "photo"} & set(sum(plan.nearest, ()))
    assert torch.equal(plan.starts["clip"], vectors["clip"][best])


def test_attention_finds_the_word_that_looks_at_the_thing():
    """On the double a word made of the query of a thing's cells is attended from these cells."""
    backbone, picture, concepts = double(), tiny_picture(), tiny_concepts()
    cells = torch.nn.functional.adaptive_avg_pool2d(backbone.encode_image(picture.pixels[None]), 8)[0].flatten(1)
    things = concepts.masks[1:]
    means = torch.stack([cells[:, mask.flatten()].mean(dim=1) - cells.mean(dim=1) for mask in things])
    made = means @ backbone.query[:4] * 5
    others = backbone.embedding_table("clip")[10:30]
    scores = word_attention(backbone, picture.pixels, things, {"clip": torch.cat([others, made])}, Context())
    assert scores.argmax(dim=1).tolist() == [20, 21]


def test_shortlist_narrows_what_is_denoised(scene, monkeypatch):
    from uce.core.training import word_scores as search

    seen: list[int] = []
    whole = search.masked_errors

    def count(backbone: Any, pixels: Any, masks: Any, vectors: Any, *rest: Any) -> Any:
        seen.append(len(vectors["clip"]))
        return whole(backbone, pixels, masks, vectors, *rest)

    monkeypatch.setattr(search, "masked_errors", count)
    plan_of(scene, shortlist=1)
    plan_of(scene, by="attention")
    assert len(seen) == 1 and 1 <= seen[0] <= 2


def test_more_starts_than_words(scene):
    assert plan_of(scene, split_tokens=64).num_splits == len(label_words(scene.backbone))


def test_vocabulary_without_words(scene, monkeypatch):
    monkeypatch.setattr(scene.backbone, "words", lambda encoder: {})
    with pytest.raises(StageInputError, match="vocabulary names no words; use --initializer word-search"):
        plan_of(scene)


def test_template_has_one_place():
    with pytest.raises(ValidationError, match="exactly once"):
        NearestWordsInitializer.Settings(template="a photo")
