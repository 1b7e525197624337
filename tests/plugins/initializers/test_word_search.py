"""The words that denoise a concept best become its starts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from uce.core import Concepts, Context
from uce.core.training.starts import random_starts
from uce.plugins.initializers.word_search import WordSearchInitializer


@pytest.fixture
def scene(tiny_backbone):
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, :8, :8] = masks[1, 9:, 4:] = True
    picture = SimpleNamespace(pixels=torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    concepts = Concepts(masks=masks, maps=masks.float().flatten(1) + 0.1, scores=torch.ones(2))

    def plan_of(**given):
        settings = WordSearchInitializer.Settings(**given)
        return WordSearchInitializer().uce_initialize_tokens(concepts, tiny_backbone, picture, settings, Context())

    return SimpleNamespace(plan_of=plan_of, backbone=tiny_backbone, concepts=concepts, picture=picture)


def test_best_of_all_candidates(scene):
    """By hand: the error of every candidate alone, at the noise level in the middle."""
    plan = scene.plan_of(candidates=6, noise_levels=1)
    words = random_starts(scene.backbone, 1, 6, Context())["clip"][0]
    latent = scene.backbone.encode_image(scene.picture.pixels[None])
    noise = torch.randn(1, *latent.shape[1:], generator=Context().generator(salt="word search"))
    t = torch.tensor([int(0.6 * 999)])
    with torch.no_grad():
        for k, mask in enumerate(scene.concepts.masks):
            errors = []
            for i in range(6):
                prompt = scene.backbone.tokenize("a photo of <word>", {"<word>": i})
                conditioning = scene.backbone.encode_prompts([prompt], {"clip": words})
                prediction = scene.backbone.predict(scene.backbone.add_noise(latent, noise, t), t, conditioning)
                errors.append(float((prediction - noise).square()[0, :, mask].mean()))
            assert torch.equal(plan.starts["clip"][k, 0], words[errors.index(min(errors))])


def test_several_starts_are_the_next_best(scene):
    one, three = scene.plan_of(candidates=8), scene.plan_of(candidates=8, split_tokens=3)
    assert three.starts["clip"].shape == (2, 3, 16)
    assert torch.equal(one.starts["clip"][:, 0], three.starts["clip"][:, 0])
    assert three.tokens == ("<asset0>", "<asset1>")


def test_at_least_as_many_candidates_as_starts(scene):
    assert scene.plan_of(candidates=1, split_tokens=2).num_splits == 2
