"""Tokens learn alone, each from its crop; what chance decides depends on the update's number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from uce.core import Concepts, Context, LearnedConcepts, StageInputError, Step, TokenPlan
from uce.core.flow.picture import read_picture
from uce.core.training.crops import concept_crop, crop_frame
from uce.plugins.optimizers.textual_inversion import TextualInversionOptimizer
from uce.testing import check_plugin


@pytest.fixture
def scene() -> Any:
    """Two things of different colours, 48 x 64 pixels, masks on 8 x 8 cells of the model's padded square."""
    original = np.full((48, 64, 3), 120, np.uint8)
    original[8:24, 8:24], original[24:40, 40:56] = (220, 30, 20), (20, 60, 210)
    pixel_masks = torch.zeros(2, 48, 64, dtype=torch.bool)
    pixel_masks[0, 8:24, 8:24] = pixel_masks[1, 24:40, 40:56] = True
    picture = read_picture(original, 16, "pad")
    masks = picture.to_grid(pixel_masks, (8, 8))
    concepts = Concepts(masks, masks.float().flatten(1) + 0.05, torch.ones(2), pixel_masks)
    return SimpleNamespace(picture=picture, concepts=concepts)


def learn(doubles: Any, scene: Any, *, backbone: Any = None, splits: int = 1, **given: Any) -> LearnedConcepts:
    backbone = backbone or doubles.Backbone()
    fields = {key: given.pop(key) for key in ("checkpoint", "checkpoint_every", "micro_batch", "emit") if key in given}
    context = Context(seed=given.pop("seed", 0), stage="optimizer", **fields)
    concepts = given.pop("concepts", scene.concepts)
    tokens = tuple(f"<asset{k}>" for k in range(len(concepts)))
    generator = torch.Generator().manual_seed(9)
    plan = given.pop("plan", None)
    if plan is None:
        plan = TokenPlan(tokens, {"clip": torch.randn(len(concepts), splits, backbone.width, generator=generator)})
    settings = TextualInversionOptimizer.Settings(**({"steps": 6} | given))
    return TextualInversionOptimizer().uce_optimize(plan, concepts, backbone, scene.picture, settings, context)


def raw(learned: LearnedConcepts) -> bytes:
    return b"".join(value.numpy().tobytes() for value in learned.embeddings.values())


@pytest.mark.parametrize("settings", [{}, {"source": "picture", "batch": 2}, {"fill": "mean", "margin": 2.0}])
def test_keeps_the_contract(settings):
    check_plugin(TextualInversionOptimizer, settings=settings)


def test_loss_falls(doubles, scene):
    learned = learn(doubles, scene, steps=200, learning_rate=0.05, batch=4)
    losses = [row["mse"] for row in learned.history]
    assert sum(losses[-40:]) < 0.9 * sum(losses[:40])
    assert learned.embeddings["clip"].shape == (2, 1, 6) and learned.weights is None


def test_history_counts_updates(doubles, scene, fake):
    events: list[Step] = []
    learned = learn(doubles, scene, backbone=fake, batch=3, micro_batch=4, emit=events.append)
    assert [(row["update"], row["phase"]) for row in learned.history] == [(i, "crop") for i in range(1, 7)]
    assert all(row["total"] == pytest.approx(2 * row["mse"]) for row in learned.history)
    assert events[-1].update == events[-1].total == 6 and fake.passes == [4, 2] * 6


def test_each_token_learns_as_if_it_were_alone(doubles, scene):
    """What the other concept looks like makes no difference, neither in the loss nor in the update."""
    together = learn(doubles, scene)
    changed = scene.picture.original.copy()
    changed[24:40, 40:56] = 255
    other = SimpleNamespace(picture=read_picture(changed, 16, "pad"), concepts=scene.concepts)
    apart = learn(doubles, other)
    assert torch.equal(together.embeddings["clip"][0], apart.embeddings["clip"][0])
    assert not torch.equal(together.embeddings["clip"][1], apart.embeddings["clip"][1])


def test_whole_picture_is_encoded_once(doubles, scene, fake):
    learn(doubles, scene, backbone=fake, source="picture")
    assert fake.encoded == [1, 1]
    learn(doubles, scene, backbone=(other := doubles.Backbone()))
    assert other.encoded == [1, 1, 1, 1]


def test_crop_is_a_square_pushed_into_the_picture():
    mask = np.zeros((48, 64), bool)
    mask[8:24, 8:20] = True
    assert crop_frame(mask, 0.0) == (slice(8, 24), slice(6, 22))
    assert crop_frame(mask, 0.25) == (slice(4, 28), slice(2, 26))
    mask[:] = False
    mask[40:48, 60:64] = True
    assert crop_frame(mask, 0.5) == (slice(32, 48), slice(48, 64)), "no cell beyond the picture's edge"
    assert crop_frame(mask | True, 0.5) == (slice(0, 48), slice(0, 64)), "cut where the square does not fit"


def test_fill_replaces_what_is_not_the_concept(scene):
    original, mask = scene.picture.original, scene.concepts.pixel_masks[0].numpy()
    kept = concept_crop(original, mask, 0.25, "keep")
    assert kept.shape == (24, 24, 3) and (kept[0, 0] == 120).all() and (kept[12, 12] == (220, 30, 20)).all()
    for fill, colour in (("white", (255,) * 3), ("grey", (127,) * 3), ("mean", (220, 30, 20))):
        filled = concept_crop(original, mask, 0.25, fill)
        assert (filled[0, 0] == colour).all() and (filled[12, 12] == (220, 30, 20)).all()
    assert (original[0, 0] == 120).all(), "the picture itself is left alone"


def test_masks_of_cells_serve_where_there_are_none_of_pixels(doubles, scene):
    bare = Concepts(scene.concepts.masks, scene.concepts.maps, scene.concepts.scores)
    assert len(learn(doubles, scene, concepts=bare).history) == 6


def test_same_seed_same_bytes(doubles, scene):
    assert raw(learn(doubles, scene, seed=4)) == raw(learn(doubles, scene, seed=4))
    assert raw(learn(doubles, scene, seed=4)) != raw(learn(doubles, scene, seed=5))


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("stop", [1, 5, 8])
def test_resumed_run_ends_with_the_same_bytes(doubles, scene, stop, splits):
    whole = learn(doubles, scene, steps=9, splits=splits)
    checkpoint = doubles.Checkpoint()

    def kill(event: Step) -> None:
        if event.update == stop:
            raise KeyboardInterrupt

    options = {"steps": 9, "splits": splits, "checkpoint": checkpoint, "checkpoint_every": 2}
    with pytest.raises(KeyboardInterrupt):
        learn(doubles, scene, emit=kill, **options)
    backbone = doubles.Backbone()
    resumed = learn(doubles, scene, backbone=backbone, **options)
    assert raw(resumed) == raw(whole) and resumed.history == whole.history
    assert len(backbone.passes) == 9 - (stop - 1) // 2 * 2


def test_checkpoint_of_other_settings_is_not_taken_up(doubles, scene):
    checkpoint = doubles.Checkpoint()
    learn(doubles, scene, checkpoint=checkpoint, checkpoint_every=2)
    changed = learn(doubles, scene, checkpoint=checkpoint, fill="white")
    assert raw(changed) == raw(learn(doubles, scene, fill="white"))


def test_split_tokens_start_from_their_mean(doubles, scene, fake):
    starts = {"clip": torch.randn(2, 3, fake.width, generator=torch.Generator().manual_seed(1))}
    plan = TokenPlan(("<asset0>", "<asset1>"), starts)
    learned = learn(doubles, scene, plan=plan, steps=0)
    assert torch.allclose(learned.embeddings["clip"][:, 0], starts["clip"].mean(dim=1))


def test_every_template_is_used(doubles, scene, fake):
    learn(doubles, scene, backbone=fake, steps=0, templates=["a photo of {}", "{} and a photo"])
    assert {"a photo of <asset0>", "<asset1> and a photo"} <= set(fake.texts)


def test_rate_in_units_of_the_vocabulary(doubles, scene, fake):
    unit = float(fake.embedding_table("clip").float().std())
    relative = learn(doubles, scene, learning_rate=0.25, rate_unit="vocabulary")
    assert raw(relative) == raw(learn(doubles, scene, learning_rate=0.25 * unit))


def test_loss_that_is_not_finite_names_the_update(doubles, scene, fake):
    fake.value[0, 0] = float("nan")
    with pytest.raises(StageInputError, match=r"loss of update 1 is not finite; try a lower optimizer.learning_rate"):
        learn(doubles, scene, backbone=fake)


def test_no_concepts(doubles, scene):
    with pytest.raises(StageInputError, match="there is no concept to learn"):
        learn(doubles, scene, concepts=scene.concepts.select([]), plan=TokenPlan((), {"clip": torch.zeros(0, 1, 6)}))


@pytest.mark.parametrize("templates", [[], ["a photo"], "a {x} of {}"])
def test_templates_have_one_place(templates):
    with pytest.raises(ValidationError, match=r"exactly once|a prompt at least"):
        TextualInversionOptimizer.Settings(templates=templates)


def test_a_single_template_is_a_list_of_one():
    assert TextualInversionOptimizer.Settings(templates="a photo of {}").templates == ["a photo of {}"]


def test_on_a_diffusers_pipeline(doubles, scene, tiny_backbone):
    plan = TokenPlan(("<asset0>", "<asset1>"), {"clip": torch.randn(2, 1, 16)})
    picture = read_picture(scene.picture.original, 64, "pad")
    real = SimpleNamespace(picture=picture, concepts=scene.concepts)
    learned = learn(doubles, real, backbone=tiny_backbone, plan=plan, steps=2, micro_batch=4)
    assert learned.embeddings["clip"].shape == (2, 1, 16) and len(learned.history) == 2
    assert all(parameter.grad is None for parameter in tiny_backbone.unet.parameters())
