"""What the trainer does, on a backbone small enough to count; agreement with the paper is in tests/oracles."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from uce.core import Concepts, Context, LearnedConcepts, StageInputError, Step, TokenPlan
from uce.core.flow.context import Checkpoint
from uce.core.training.rows import TokenRows
from uce.plugins.initializers.nearest_words import NearestWordsInitializer
from uce.plugins.initializers.random import RandomInitializer
from uce.plugins.initializers.split_merge import SplitMergeInitializer
from uce.plugins.initializers.word_search import WordSearchInitializer
from uce.plugins.initializers.words import WordsInitializer
from uce.plugins.optimizers.masked_denoising import MaskedDenoisingOptimizer
from uce.testing.doubles import tiny_concepts, tiny_picture

INITIALIZERS = {
    plugin.name: plugin
    for plugin in (NearestWordsInitializer, RandomInitializer, SplitMergeInitializer, WordSearchInitializer,
                   WordsInitializer)
}  # fmt: skip


def learn(doubles: Any, backbone: Any = None, concepts: Concepts | None = None, **given: Any) -> LearnedConcepts:
    """Train on the double. `given`: context fields, `splits`, `picture`, `plan` and the plugin's settings."""
    backbone = backbone or doubles.Backbone()
    concepts = doubles.concepts() if concepts is None else concepts
    fields = {key: given.pop(key) for key in ("checkpoint", "checkpoint_every", "micro_batch", "emit") if key in given}
    context = Context(seed=given.pop("seed", 0), stage="optimizer", **fields)
    init = SplitMergeInitializer.Settings(split_tokens=given.pop("splits", 3))
    picture, plan = given.pop("picture", doubles.picture), given.pop("plan", None)
    if plan is None:
        plan = SplitMergeInitializer().uce_initialize_tokens(concepts, backbone, init, Context(stage="initializer"))
    settings = MaskedDenoisingOptimizer.Settings(**({"steps": 4, "merge_step": 2} | given))
    return MaskedDenoisingOptimizer().uce_optimize(plan, concepts, backbone, picture, settings, context)


def raw(learned: LearnedConcepts) -> bytes:
    return b"".join(value.numpy().tobytes() for value in learned.embeddings.values())


def test_defaults_are_the_papers():
    settings = MaskedDenoisingOptimizer.Settings()
    assert (settings.steps, settings.merge_step, settings.learning_rate) == (500, 100, 5e-4)
    assert (settings.attention_weight, settings.contrastive_weight, settings.temperature) == (1e-5, 1e-3, 0.07)
    assert (settings.schedule, settings.alignment, settings.flip, settings.clip) == ("paper", "sinkhorn", 0.5, 1.0)


def test_paper_schedule_is_one_update_per_prompt(doubles, fake):
    events: list[Step] = []
    learned = learn(doubles, fake, doubles.concepts(2), splits=5, emit=events.append)
    assert len(events) == events[-1].total == 2 * 5 * 2 + 2 * (2 + 1)
    assert Counter(row["phase"] for row in learned.history) == {"split": 20, "merged": 6}
    assert [row["update"] for row in learned.history] == list(range(1, 27))
    assert set(learned.history[0]) == {"update", "phase", "step", "masked_mse", "attention", "contrastive", "total"}
    assert set(fake.passes) == {1} and len(fake.passes) == 26 + 1  # one more finds the layers to align
    assert "a photo of <asset0>" in fake.texts and "a photo of <asset0> and <asset1>" in fake.texts
    assert learned.history[-1]["contrastive"] == 0 < learned.history[0]["contrastive"]


def test_batched_schedule_is_one_update_per_step(doubles, fake):
    learned = learn(doubles, fake, doubles.concepts(2), splits=5, schedule="batched", micro_batch=4)
    assert len(learned.history) == 4
    assert fake.passes == [1] + [4, 4, 2] * 2 + [3] * 2


def test_picture_and_mirror_image_are_encoded_once(doubles, fake):
    learn(doubles, fake)
    assert fake.encoded == [1, 1]
    learn(doubles, fake)
    assert fake.encoded == [1, 1], "a second training of the same picture encodes nothing"


def test_attention_is_kept_only_where_it_counts(doubles, fake):
    learn(doubles, fake, attention_weight=0.0)
    assert fake.requests == [] and len(fake.passes) == 2 * 6 + 2 * 3
    other = doubles.Backbone()
    learn(doubles, other)
    assert all(request.columns is not None and request.sides == {8} for request in other.requests[1:])
    assert [tuple(request.columns.shape) for request in other.requests[-3:]] == [(1, 1), (1, 1), (1, 2)]


def test_only_token_rows_change(doubles, fake):
    before = {name: value.clone() for name, value in {**fake.tables, "q": fake.query, "v": fake.value}.items()}
    learned = learn(doubles, fake)
    for name, value in {**fake.tables, "q": fake.query, "v": fake.value}.items():
        assert torch.equal(value, before[name]) and value.grad is None
    assert learned.weights is None and learned.embeddings["clip"].shape == (2, 1, fake.width)
    assert not learned.embeddings["clip"].requires_grad


def test_loss_falls(doubles):
    learned = learn(doubles, steps=100, merge_step=10, schedule="batched", learning_rate=2e-2)
    totals = [row["masked_mse"] for row in learned.history]
    assert sum(totals[-30:]) < 0.9 * sum(totals[10:40])


def test_same_seed_same_bytes(doubles):
    assert raw(learn(doubles, seed=4)) == raw(learn(doubles, seed=4))
    assert raw(learn(doubles, seed=4)) != raw(learn(doubles, seed=5))


FEW = {"schedule": "batched", "timesteps": "spread", "cool_down": 0.5, "alignment": "kl"}


@pytest.mark.parametrize("chosen", [{"schedule": "paper"}, FEW], ids=["paper", "few-updates"])
@pytest.mark.parametrize("stop", [1, 3, 7, 13])
def test_resumed_run_ends_with_the_same_bytes(doubles, chosen, stop):
    options = {"steps": 9, "merge_step": 2} | chosen
    whole = learn(doubles, **options)
    checkpoint = doubles.Checkpoint()

    def kill(event: Step) -> None:
        if event.update == stop:
            raise KeyboardInterrupt

    if stop <= len(whole.history):
        with pytest.raises(KeyboardInterrupt):
            learn(doubles, checkpoint=checkpoint, checkpoint_every=2, emit=kill, **options)
    backbone = doubles.Backbone()
    resumed = learn(doubles, backbone, checkpoint=checkpoint, checkpoint_every=2, **options)
    assert raw(resumed) == raw(whole)
    assert resumed.history == whole.history
    if chosen["schedule"] == "paper":
        assert len(backbone.passes) - 1 == len(whole.history) - (stop - 1) // 2 * 2


def test_checkpoint_of_another_training_is_not_taken_up(doubles):
    checkpoint = doubles.Checkpoint()
    learn(doubles, checkpoint=checkpoint, checkpoint_every=5)
    assert checkpoint.saves == 18 // 5
    changed = learn(doubles, checkpoint=checkpoint, learning_rate=1e-3)
    assert raw(changed) == raw(learn(doubles, learning_rate=1e-3))


def test_flips_move_picture_masks_and_maps_together(doubles):
    """Always flipping is training on the mirrored picture, masks and maps."""
    concepts, maps = doubles.concepts(), doubles.concepts().maps.reshape(2, 8, 8)
    mirrored = replace(concepts, masks=concepts.masks.flip(-1), maps=maps.flip(-1).flatten(1))
    picture = SimpleNamespace(pixels=doubles.picture.pixels.flip(-1))
    assert raw(learn(doubles, flip=1.0)) == raw(learn(doubles, concepts=mirrored, picture=picture, flip=0.0))
    assert raw(learn(doubles, flip=1.0)) != raw(learn(doubles, flip=0.0))


def test_micro_batch_changes_only_rounding(doubles):
    one = learn(doubles, schedule="batched", micro_batch=1)
    all_at_once = learn(doubles, schedule="batched", micro_batch=16)
    assert torch.allclose(one.embeddings["clip"], all_at_once.embeddings["clip"], atol=1e-5)


def test_merge_is_the_mean_of_the_splits(doubles, fake):
    starts = {"clip": torch.randn(2, 3, fake.width)}
    plan = TokenPlan(("<asset0>", "<asset1>"), starts)
    for merge_step in (0, 5):
        learned = learn(doubles, plan=plan, steps=0, merge_step=merge_step)
        assert torch.allclose(learned.embeddings["clip"][:, 0], starts["clip"].mean(dim=1))
    merged_first = learn(doubles, plan=plan, merge_step=0)
    assert {row["phase"] for row in merged_first.history} == {"merged"}


@pytest.mark.parametrize("num", [1, 12])
def test_any_number_of_concepts(doubles, num):
    backbone = doubles.Backbone(length=40)
    learned = learn(doubles, backbone, doubles.concepts(num), splits=1, steps=2)
    assert learned.embeddings["clip"].shape[0] == num
    assert len(learned.history) == 2 * (num + 1)


def test_one_concept_batched_leaves_out_the_repeated_prompt(doubles, fake):
    learn(doubles, fake, doubles.concepts(1), splits=1, steps=2, schedule="batched", attention_weight=0)
    assert fake.passes == [1, 1]


def test_tokens_that_do_not_fit_one_prompt_take_turns(doubles):
    backbone = doubles.Backbone(length=12)  # "a photo of" and four tokens with three "and"
    learn(doubles, backbone, doubles.concepts(6), splits=1, steps=2)
    joint = [text for text in backbone.texts if text.count("<") == 3]
    assert {"a photo of <asset0> and <asset1> and <asset2>", "a photo of <asset3> and <asset4> and <asset5>"} <= {
        *joint
    }


def test_two_text_encoders(doubles):
    backbone = doubles.Backbone(encoders=("clip_l", "clip_g"))
    learned = learn(doubles, backbone)
    assert set(learned.embeddings) == {"clip_l", "clip_g"}
    assert learned.history[0]["contrastive"] > 0


def test_kl_alignment_and_mask_area_differ_from_the_papers(doubles):
    paper = learn(doubles)
    assert raw(learn(doubles, alignment="kl")) != raw(paper)
    by_mask = learn(doubles, loss_area="mask")
    assert by_mask.history[0]["masked_mse"] > paper.history[0]["masked_mse"]


def test_masks_of_another_grid(doubles):
    assert learn(doubles, concepts=doubles.concepts(2, side=16)).history
    assert learn(doubles, concepts=doubles.concepts(2, side=4)).history


def test_loss_that_is_not_finite_names_the_update(doubles, fake):
    fake.value[0, 0] = float("nan")
    with pytest.raises(StageInputError, match=r"loss of update 1 is not finite; try a lower optimizer.learning_rate"):
        learn(doubles, fake)


def test_no_concepts(doubles):
    empty = Concepts(masks=torch.zeros(0, 8, 8, dtype=torch.bool), maps=torch.zeros(0, 64), scores=torch.zeros(0))
    plan = TokenPlan((), {"clip": torch.zeros(0, 1, 6)})
    with pytest.raises(StageInputError, match="there is no concept to learn"):
        learn(doubles, concepts=empty, plan=plan)


def test_plan_for_other_concepts(doubles):
    with pytest.raises(StageInputError, match="names 1 tokens for 2 concepts"):
        learn(doubles, plan=TokenPlan(("<asset0>",), {"clip": torch.zeros(1, 1, 6)}))


def test_alignment_side_that_no_layer_has(doubles):
    with pytest.raises(StageInputError, match=r"5 cells per side; optimizer.alignment_side: 8"):
        learn(doubles, alignment_side=5)


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{0}", "{} {x}"])
def test_template_has_one_place(template):
    with pytest.raises(ValidationError, match="exactly once"):
        MaskedDenoisingOptimizer.Settings(template=template)


def test_on_a_diffusers_pipeline(doubles, tiny_backbone):
    """The real face: one encode, nothing but tokens learns, the model is left as it was found."""
    before = {name: value.clone() for name, value in tiny_backbone.unet.state_dict().items()}
    picture = SimpleNamespace(pixels=torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    learned = learn(
        doubles, tiny_backbone, doubles.concepts(2, side=16), picture=picture, splits=2, steps=2, merge_step=1
    )
    assert [row["phase"] for row in learned.history] == ["split"] * 4 + ["merged"] * 3
    # where the token looks as it should the distance is 0, or what rounding leaves of it
    assert all(row["attention"] > -1e-6 and row["masked_mse"] > 0 for row in learned.history)
    assert any(row["attention"] > 1e-4 for row in learned.history)
    assert all(torch.equal(value, before[name]) for name, value in tiny_backbone.unet.state_dict().items())
    assert all(parameter.grad is None for parameter in tiny_backbone.text_encoder.parameters())
    assert not any("Watcher" in type(p).__name__ for p in tiny_backbone.unet.attn_processors.values())


def test_cool_down_lets_the_learning_rate_fall_to_nothing(doubles, monkeypatch):
    rates: list[float] = []
    update = TokenRows.update

    def record(self: TokenRows, learning_rate: float, *rest: Any) -> None:
        rates.append(learning_rate)
        update(self, learning_rate, *rest)

    monkeypatch.setattr(TokenRows, "update", record)
    learn(doubles, schedule="batched", steps=8, learning_rate=0.4)
    assert rates == [0.4] * 8
    rates.clear()
    learn(doubles, schedule="batched", steps=8, learning_rate=0.4, cool_down=0.5)
    assert rates == pytest.approx([0.4] * 5 + [0.3, 0.2, 0.1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_float32_rows(doubles, load_backbone, tiny_pipeline, precision):
    backbone = load_backbone(tiny_pipeline, precision=precision)
    picture = SimpleNamespace(pixels=torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    options = {"picture": picture, "splits": 2, "steps": 2, "merge_step": 1, "schedule": "batched"}
    half = learn(doubles, backbone, doubles.concepts(2, side=16), **options)
    full = learn(doubles, load_backbone(tiny_pipeline), doubles.concepts(2, side=16), **options)
    assert half.embeddings["clip"].dtype is torch.float32
    assert half.history[-1]["masked_mse"] == pytest.approx(full.history[-1]["masked_mse"], rel=0.02)
    assert (half.embeddings["clip"] - full.embeddings["clip"]).abs().max() < 5e-3


def test_rate_in_units_of_the_vocabulary(doubles, fake):
    """The same numbers result when the unit is multiplied out by hand."""
    unit = float(fake.embedding_table(fake.encoders[0]).float().std())
    relative = learn(doubles, learning_rate=0.25, rate_unit="vocabulary")
    assert raw(relative) == raw(learn(doubles, learning_rate=0.25 * unit))


def test_norm_limit_keeps_tokens_as_short_as_words(doubles, fake):
    longest = float(fake.embedding_table(fake.encoders[0]).float().norm(dim=1).median())
    learned = learn(doubles, learning_rate=0.5, norm_limit=1.0)
    assert learned.embeddings[fake.encoders[0]].norm(dim=-1).max() <= longest * (1 + 1e-5)
    assert learn(doubles, learning_rate=0.5).embeddings[fake.encoders[0]].norm(dim=-1).max() > longest


class SeveralVectors(Checkpoint):
    """Interrupts after update 4, once."""

    state: Any = None
    stopped = False

    def load(self) -> Any:
        return self.state

    def save(self, tensors: Any, values: Any) -> None:
        type(self).state = dict(tensors), dict(values)
        if values["update"] == 4 and not self.stopped:
            type(self).stopped = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_several_vectors_stand_in_a_row_in_every_prompt(doubles, tiny_backbone, name):
    concepts, picture = tiny_concepts((16, 16)), tiny_picture(side=tiny_backbone.picture_side)
    settings = {"vectors": 2} | ({"words": ["cup"]} if name == "words" else {})
    given = {"concepts": concepts, "backbone": tiny_backbone, "context": Context(stage="initializer")}
    if name in ("word-search", "nearest-words"):
        settings |= {"candidates": 6, "noise_levels": 1}
        given["image"] = picture
    plugin = INITIALIZERS[name]
    plan = plugin().uce_initialize_tokens(**given, settings=plugin.Settings(**settings))
    assert plan.num_vectors == 2 and plan.starts["clip"].shape == (3, plan.num_splits, 2, 16)
    learned = learn(doubles, tiny_backbone, concepts, plan=plan, picture=picture, steps=2, merge_step=1,
                    learning_rate=0.1)  # fmt: skip
    assert learned.embeddings["clip"].shape == (3, 2, 16)
    assert not torch.equal(learned.embeddings["clip"], plan.starts["clip"].mean(dim=1)), "nothing was learned"
    assert not torch.equal(learned.embeddings["clip"][:, 0], learned.embeddings["clip"][:, 1])


def test_several_vectors_of_an_interrupted_training(doubles, tiny_backbone):
    concepts, picture = tiny_concepts((16, 16)), tiny_picture(side=tiny_backbone.picture_side)
    settings = SplitMergeInitializer.Settings(split_tokens=2, vectors=2)
    plan = SplitMergeInitializer().uce_initialize_tokens(concepts, tiny_backbone, settings, Context())
    given = {"plan": plan, "picture": picture, "steps": 2, "merge_step": 1, "checkpoint_every": 1}
    whole = learn(doubles, tiny_backbone, concepts, **given)
    with pytest.raises(KeyboardInterrupt):
        learn(doubles, tiny_backbone, concepts, checkpoint=SeveralVectors(), **given)
    assert raw(learn(doubles, tiny_backbone, concepts, checkpoint=SeveralVectors(), **given)) == raw(whole)
