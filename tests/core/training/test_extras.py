"""A plugin's own rate and further loss, in every kind of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from uce.core import (
    Context,
    DenoisingSettings,
    DivergedError,
    LearnedConcepts,
    PluginError,
    TokenPlan,
    Tuning,
    UpdateView,
    train,
    train_weights,
)
from uce.core.training import ModelWeights, Phases
from uce.core.training.rows import TokenRows
from uce.testing import tiny_backbone, tiny_concepts, tiny_picture

K, S = 3, 2


class Kept:
    """A checkpoint in memory that can cut a training short."""

    def __init__(self, stop: int = 0) -> None:
        self.state: Any = None
        self.stop = stop

    def load(self) -> Any:
        return self.state

    def save(self, tensors: Any, values: Any) -> None:
        self.state = (dict(tensors), dict(values))
        if self.stop and values.get("update", values.get("now", {}).get("update")) == self.stop:
            self.stop = 0
            raise KeyboardInterrupt


def learn(
    backbone: Any = None, context: dict[str, Any] | None = None, splits: int = S, **given: Any
) -> LearnedConcepts:
    """`given`: `rate`, `extra_loss`, `weights`, and settings."""
    backbone = backbone or tiny_backbone()
    extras = {key: given.pop(key) for key in ("rate", "extra_loss", "weights") if key in given}
    generator = torch.Generator().manual_seed(1)
    starts = {
        encoder: torch.randn(K, splits, backbone.embedding_table(encoder).shape[1], generator=generator)
        for encoder in backbone.encoders
    }
    plan = TokenPlan(tuple(f"<asset{k}>" for k in range(K)), starts)
    settings = DenoisingSettings(**({"steps": 3, "merge_step": 1, "attention_weight": 0} | given))
    told = Context(seed=5, stage="optimizer", **(context or {}))
    return train(plan, tiny_concepts(), backbone, tiny_picture(), settings.options(), told, **extras)


def raw(learned: LearnedConcepts) -> bytes:
    tensors = [*learned.embeddings.values(), *(learned.weights or {}).values()]
    return b"".join(tensor.numpy().tobytes() for tensor in tensors)


def short(view: UpdateView) -> Tensor:
    """The mean squared length of all rows."""
    return torch.stack([rows.square().mean() for rows in view.rows.values()]).mean()


def lean(view: UpdateView) -> Tensor:
    """Something that depends on all of a pass, as a mean over its prompts."""
    inside = (view.prediction - view.noise) * view.masks
    return inside.square().mean() + view.timesteps.float().mean() / 1000


def halve(update: int, total: int) -> float:
    return 1 - update / total


SCHEDULES = ("paper", "batched")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_extras_history_and_bytes_are_as_they_were(schedule: str) -> None:
    plain = learn(schedule=schedule)
    assert set(plain.history[0]) == {"update", "phase", "step", "masked_mse", "attention", "contrastive", "total"}
    assert raw(learn(schedule=schedule, rate=lambda update, total: 1.0)) == raw(plain)
    nothing = learn(schedule=schedule, extra_loss=lambda view: torch.zeros(()))
    assert raw(nothing) == raw(plain) and {row["extra"] for row in nothing.history} == {0.0}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rate_is_asked_for_every_update_and_multiplies_with_the_cool_down(
    schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    update = TokenRows.update
    monkeypatch.setattr(TokenRows, "update", lambda rows, rate, *rest: (rates.append(rate), update(rows, rate, *rest)))
    asked: list[tuple[int, int]] = []

    def rate(number: int, total: int) -> float:
        asked.append((number, total))
        return 2.0 * number

    learned = learn(schedule=schedule, rate=rate, learning_rate=0.01, cool_down=1.0)
    total = len(learned.history)
    assert asked == [(number, total) for number in range(1, total + 1)]
    assert rates == pytest.approx([0.01 * 2 * n * (total + 1 - n) / total for n in range(1, total + 1)])


def test_rate_of_nothing_leaves_the_tokens() -> None:
    still = learn(rate=lambda update, total: 0, merge_step=0, splits=1)
    generator = torch.Generator().manual_seed(1)
    width = tiny_backbone().embedding_table("clip").shape[1]
    assert torch.equal(still.embeddings["clip"], torch.randn(K, 1, width, generator=generator))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_extra_loss_is_learned_and_written_down(schedule: str) -> None:
    plain = learn(schedule=schedule, learning_rate=0.05)
    shorter = learn(schedule=schedule, learning_rate=0.05, extra_loss=lambda view: 1000 * short(view))
    assert float(shorter.embeddings["clip"].norm()) < float(plain.embeddings["clip"].norm())
    first, last = shorter.history[0], shorter.history[-1]
    assert float(last["extra"]) < float(first["extra"])
    parts = float(first["masked_mse"]) + 1e-3 * float(first["contrastive"]) + float(first["extra"])
    assert float(first["total"]) == pytest.approx(parts, rel=1e-5)


def test_what_an_update_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    views: list[UpdateView] = []

    def look(view: UpdateView) -> Tensor:
        views.append(view)
        return short(view)

    backbone = tiny_backbone(("clip_l", "clip_g"))
    learned = learn(backbone, extra_loss=look, schedule="batched", context={"micro_batch": 2})
    batches = [len(view.prompts) for view in views]
    assert batches == [2, 2, 2] + [2, 2] * 2, "6 split prompts, then 3 and one of all, two per pass"
    assert len(learned.history) == 3
    for view in views:
        rows = K * S if len(view.rows["clip_l"]) == K * S else K
        for encoder, given in view.rows.items():
            assert given.shape == (rows, backbone.embedding_table(encoder).shape[1]) and given.requires_grad
        num = len(view.prompts)
        shape = (num, 4, 8, 8)
        found = (view.latents, view.noise, view.prediction, view.target)
        assert [tuple(x.shape) for x in found] == [shape] * 4 and view.masks.shape == (num, 1, 8, 8)
        assert view.timesteps.dtype is torch.int64 and view.timesteps.shape == (num,)
        assert view.prediction.requires_grad and not view.latents.requires_grad and view.backbone is backbone
        assert torch.equal(view.target, view.noise), "the tiny model predicts noise"
        assert set(view.masks.unique().tolist()) <= {0.0, 1.0}
    shown = [slot for view in views for prompt in view.prompts for slot in prompt.slots["clip_l"].unique().tolist()]
    assert set(shown) == {-1, *range(K * S)}


@pytest.mark.parametrize("extra_loss", [short, lean])
def test_micro_batch_changes_only_rounding(extra_loss: Callable[[UpdateView], Tensor]) -> None:
    runs = [
        learn(schedule="batched", extra_loss=extra_loss, flip=0, context={"micro_batch": size}) for size in (1, 2, 6)
    ]
    for other in runs[1:]:
        assert torch.allclose(other.embeddings["clip"], runs[0].embeddings["clip"], atol=1e-5)
        for row, first in zip(other.history, runs[0].history, strict=True):
            assert float(row["extra"]) == pytest.approx(float(first["extra"]), rel=1e-4)


@pytest.mark.parametrize(("schedule", "stop"), [("paper", 4), ("paper", 8), ("batched", 1), ("batched", 2)])
def test_resumed_run_ends_with_the_same_bytes(schedule: str, stop: int) -> None:
    given: dict[str, Any] = {"schedule": schedule, "rate": halve, "extra_loss": lean}
    whole = learn(**given)
    kept = Kept(stop)
    with pytest.raises(KeyboardInterrupt):
        learn(context={"checkpoint": kept, "checkpoint_every": 1}, **given)
    resumed = learn(context={"checkpoint": kept, "checkpoint_every": 1}, **given)
    assert raw(resumed) == raw(whole) and resumed.history == whole.history


def test_lora_learns_from_the_extra_loss_and_at_the_rate() -> None:
    def drawn(**extras: Any) -> LearnedConcepts:
        backbone = tiny_backbone()
        with train_weights(backbone, Tuning("lora", ("attn2",), rank=2)) as trained:
            return learn(backbone, splits=1, weights=ModelWeights(trained, 0.05), **extras)

    plain, pulled, still = drawn(), drawn(extra_loss=lambda view: 10 * lean(view)), drawn(rate=lambda n, total: 0.0)
    assert raw(plain) != raw(pulled)
    assert still.weights and not any(w.any() for name, w in still.weights.items() if "lora_B" in name or "up" in name)
    assert "extra" in pulled.history[0]


def test_phases_one_of_which_has_an_extra_loss_share_a_history() -> None:
    backbone = tiny_backbone()
    context = Context(seed=5, stage="optimizer")
    options = DenoisingSettings(steps=2, merge_step=0, attention_weight=0).options()
    plan = TokenPlan(("<a>",), {"clip": torch.ones(1, 1, 6)})
    phases = Phases(context, "identity", (4, 4))
    given = plan, tiny_concepts(things=0), backbone, tiny_picture(), options
    phases.run(lambda part: train(*given, part))
    learned = phases.run(lambda part: train(*given, part, extra_loss=short), "second")
    assert [("extra" in row, row["update"]) for row in learned.history] == [(n > 4, n) for n in range(1, 9)]


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), None, True, "fast"])
def test_a_rate_that_is_no_rate(value: Any) -> None:
    with pytest.raises(PluginError, match=r"rate\(1, \d+\) of the optimizer gave .*; it must give a finite number"):
        learn(rate=lambda update, total: value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.5, "0.5"),
        (torch.zeros(3), r"a tensor \(3,\)"),
        (torch.zeros((), dtype=torch.int64), r"a tensor \(\) of torch.int64"),
    ],
)
def test_an_extra_loss_that_is_no_number(value: Any, found: str) -> None:
    with pytest.raises(PluginError, match=f"extra_loss of the optimizer gave {found}.*one floating-point number"):
        learn(extra_loss=lambda view: value)


def test_an_extra_loss_that_is_not_finite_is_named() -> None:
    with pytest.raises(DivergedError, match="the plugin's extra loss of update 1 is not finite"):
        learn(extra_loss=lambda view: short(view) / 0)
