"""Break-A-Scene: random sets, attention against masks, two phases."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from uce.contrib._union_sampling import MaskAttention, UnionSampling
from uce.contrib.break_a_scene import BreakASceneOptimizer
from uce.core import Concepts, Context, LayerMap, LearnedConcepts, StageInputError, Step, TokenPlan
from uce.core.registry.manager import load_manager
from uce.core.training.options import TrainingOptions
from uce.core.work.cache import FileCheckpoint
from uce.testing import check_plugin, tiny_backbone, tiny_concepts, tiny_picture
from uce.testing.cases import tiny_plan

FEW: dict[str, Any] = {"steps": 3, "second_steps": 4}


def learn(backbone: Any = None, concepts: Concepts | None = None, **given: Any) -> LearnedConcepts:
    """Train on the double of uce.testing, or on another model. `given`: context fields and settings."""
    backbone = backbone or tiny_backbone()
    concepts = tiny_concepts() if concepts is None else concepts
    fields = {key: given.pop(key) for key in ("seed", "checkpoint", "checkpoint_every", "emit") if key in given}
    context, settings = Context(stage="optimizer", **fields), BreakASceneOptimizer.Settings(**(FEW | given))
    plan = tiny_plan(backbone, len(concepts), 2) if len(concepts) else TokenPlan((), {"clip": torch.zeros(0, 1, 6)})
    picture = tiny_picture(side=backbone.picture_side)
    return BreakASceneOptimizer().uce_optimize(plan, concepts, backbone, picture, settings, context)


def raw(learned: LearnedConcepts) -> bytes:
    tensors = [*learned.embeddings.values(), *(learned.weights or {}).values()]
    return b"".join(value.numpy().tobytes() for value in tensors)


@pytest.mark.parametrize("second_phase", ["unet", "lora", "none"])
def test_keeps_the_contract(second_phase):
    settings = FEW | {"second_phase": second_phase}
    assert check_plugin(BreakASceneOptimizer, settings=settings).stages == ("optimizer",)


def test_is_registered_and_has_the_papers_numbers():
    info = load_manager().get("optimizer", "break-a-scene")
    settings = info.settings_class()
    assert (info.distribution, info.origin) == ("uce-concepts", "built-in")
    assert (settings.steps, settings.second_steps) == (400, 400)
    assert (settings.learning_rate, settings.second_rate, settings.attention_weight) == (5e-4, 2e-6, 0.01)


def test_sets_are_of_every_size_and_depend_on_the_update_alone():
    schedule = UnionSampling(300, num_concepts=3, largest=3, context=Context(seed=1))
    updates = list(schedule.updates())
    assert schedule.total == len(updates) == 300
    sizes = Counter(len(update.prompts[0]) for update in updates)
    assert set(sizes) == {1, 2, 3} and min(sizes.values()) > 70
    assert {update.prompts[0] for update in updates} == {(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)}
    assert list(schedule.updates(done=200)) == updates[200:]
    small = UnionSampling(50, num_concepts=3, largest=2, context=Context(seed=1))
    assert max(len(update.prompts[0]) for update in small.updates()) == 2


def test_attention_is_compared_with_masks_at_the_layers_side():
    concepts, backbone = tiny_concepts(), tiny_backbone()
    alignment = MaskAttention.prepare(backbone, concepts, backbone.tokenize(""), TrainingOptions())
    masks = concepts.masks.flatten(1).float()
    assert alignment.grid == (8, 8) and torch.equal(alignment.targets[0], masks)
    assert torch.equal(alignment.targets[1].reshape(-1, 8, 8), concepts.masks.flip(-1).float())
    right = LayerMap("down_blocks.0", "cross", (8, 8), 1, 0.3 * masks[1][None, :, None])
    even = replace(right, probs=torch.full((1, 64, 1), 0.1))
    pairs = [(0, 0, 0, 1)]
    assert float(alignment.losses([right], pairs)) == 0
    assert float(alignment.losses([even], pairs)) == pytest.approx(1 - float(masks[1].mean()))


def test_phases_and_what_they_train():
    events: list[Step] = []
    learned = learn(emit=events.append)
    assert Counter(event.phase for event in events) == {"tokens": 3, "unet": 4}
    assert [row["update"] for row in learned.history] == list(range(1, 8)) and {event.total for event in events} == {7}
    assert set(learned.weights) == {"unet.attn2.to_q.weight", "unet.attn2.to_v.weight"}
    assert set(learn(modules=[]).weights) > set(learned.weights)
    assert {name.rpartition(".lora")[2] for name in learn(second_phase="lora").weights} == {
        ".down.weight",
        ".up.weight",
    }
    alone = learn(second_phase="none")
    assert alone.weights is None and alone.history == learned.history[:3]
    assert not torch.equal(alone.embeddings["clip"], learned.embeddings["clip"])
    assert (alone.embeddings["clip"] - learned.embeddings["clip"]).abs().max() < 1e-4  # the second phase's low rate


def test_splits_start_as_their_mean():
    plan = tiny_plan(tiny_backbone(), 3, 2)
    assert torch.allclose(learn(steps=0, second_steps=0).embeddings["clip"], plan.starts["clip"].mean(1, keepdim=True))


@pytest.mark.parametrize(("term", "weight"), [("masked_mse", 0.01), ("attention", 10.0)])
def test_loss_falls(term, weight):
    one = tiny_concepts().select([1])  # sets of several sizes cannot be compared
    rates = {"learning_rate": 0.05, "second_rate": 0.02, "attention_weight": weight}
    learned = learn(concepts=one, steps=100, second_steps=100, flip=0.0, **rates)
    values = [row[term] for row in learned.history]
    assert sum(values[-50:]) < 0.9 * sum(values[:50])


def test_same_seed_same_bytes():
    assert raw(learn(seed=4)) == raw(learn(seed=4)) != raw(learn(seed=5))


@pytest.mark.parametrize("second_phase", ["unet", "lora"])
@pytest.mark.parametrize("stop", [2, 4, 6])
def test_resumed_run_ends_with_the_same_bytes(tmp_path, second_phase, stop):
    whole, checkpoint = learn(second_phase=second_phase), FileCheckpoint(tmp_path / "state.safetensors", "key")

    def kill(event: Step) -> None:
        if event.update == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(second_phase=second_phase, checkpoint=checkpoint, checkpoint_every=1, emit=kill)
    seen: list[int] = []
    again = {"checkpoint": checkpoint, "checkpoint_every": 1, "emit": lambda event: seen.append(event.update)}
    resumed = learn(second_phase=second_phase, **again)
    assert raw(resumed) == raw(whole) and resumed.history == whole.history and seen == list(range(stop, 8))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_diffusers_model(load_backbone, tiny_pipeline, precision):
    """What trained is returned, moved by no more than its rate allows, and the model itself stays as it is."""
    backbone = load_backbone(tiny_pipeline, precision=precision)
    before = {name: value.clone() for name, value in backbone.unet.state_dict().items()}
    learned = learn(backbone, steps=1, second_steps=3, second_rate=1e-3)
    assert all(torch.equal(value, before[name]) for name, value in backbone.unet.state_dict().items())
    assert not any(value.requires_grad for value in backbone.unet.parameters())
    moved = {
        name: (value - before[name.removeprefix("unet.")].float()).abs().max()
        for name, value in learned.weights.items()
    }
    assert all(".attn2." in name for name in moved) and 1e-3 < max(moved.values()) < 4e-3
    pipe = backbone.pipeline(weights=learned.weights)
    changed = pipe.unet.state_dict()
    assert all(torch.equal(changed[name[5:]], value.to(changed[name[5:]])) for name, value in learned.weights.items())


def test_any_number_of_concepts():
    one = tiny_concepts().select([1])
    assert learn(concepts=one).embeddings["clip"].shape[0] == 1
    with pytest.raises(StageInputError, match="there is no concept to learn"):
        learn(concepts=tiny_concepts().select([]))


def test_module_that_the_model_lacks_is_said_before_training():
    events: list[Step] = []
    with pytest.raises(StageInputError, match=r"unknown module 'attn3'; available: attn1, attn2"):
        learn(modules=["attn3"], emit=events.append)
    assert events == []


@pytest.mark.parametrize("wrong", [{"second_phase": "all"}, {"second_rate": 0}, {"rank": 0}, {"template": "a photo"}])
def test_bad_settings(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        BreakASceneOptimizer.Settings(**wrong)
