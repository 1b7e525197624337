"""The short optimizers of docs/plugins.md do what the page says of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from test_docs import FILE, blocks, page

from uce.core import Backbone, Context, LearnedConcepts, TokenPlan, use_weights
from uce.core.training.rows import TokenRows
from uce.testing import tiny_backbone, tiny_concepts, tiny_picture


def source_of(file: str) -> str:
    return next(body for body in blocks(page("plugins.md"), "python") if (m := FILE.match(body)) and m[1] == file)


def plugin_of(file: str, name: str) -> Any:
    space: dict[str, Any] = {}
    exec(compile(source_of(file), file, "exec"), space)
    return space[name]()


def learn(plugin: Any, backbone: Backbone, **settings: Any) -> LearnedConcepts:
    concepts = tiny_concepts()
    generator = torch.Generator().manual_seed(0)
    plan = TokenPlan(("<a>", "<b>", "<c>"), {"clip": torch.randn(3, 2, 6, generator=generator)})
    chosen = plugin.Settings(**({"steps": 4, "merge_step": 1, "alignment": "kl"} | settings))
    given = {"concepts": concepts, "backbone": backbone, "image": tiny_picture(), "plan": plan}
    return plugin.uce_optimize(**given, settings=chosen, context=Context(seed=3, stage="optimizer"))


@pytest.mark.parametrize("file", ["cosine.py", "prior.py"])
def test_they_are_short(file: str) -> None:
    assert len([line for line in source_of(file).splitlines()[1:] if line.strip()]) <= 25


@pytest.mark.parametrize("schedule", ["paper", "batched"])
def test_cosine_is_a_cosine(monkeypatch: pytest.MonkeyPatch, schedule: str) -> None:
    rates: list[float] = []
    own = TokenRows.update
    monkeypatch.setattr(TokenRows, "update", lambda rows, rate, *rest: (rates.append(rate), own(rows, rate, *rest)))
    learned = learn(plugin_of("cosine.py", "CosineOptimizer"), tiny_backbone(), learning_rate=0.1, schedule=schedule)
    total = len(learned.history)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * n / total)) for n in range(total)])


def drift(learned: LearnedConcepts, text: str) -> float:
    """How far the weights move what the model predicts for a text without tokens."""
    backbone = tiny_backbone()
    noisy, steps = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(4) * 250
    conditioning = backbone.encode_prompts([backbone.tokenize(text)] * 4)
    plain = backbone.predict(noisy, steps, conditioning)
    with use_weights(backbone, learned.weights):
        return float((backbone.predict(noisy, steps, conditioning) - plain).square().mean())


def test_prior_keeps_the_rest_of_the_model() -> None:
    plugin = plugin_of("prior.py", "PriorOptimizer")
    free, held = (learn(plugin, tiny_backbone(), steps=30, schedule="batched", prior=prior) for prior in (0.0, 50.0))
    assert free.weights and held.weights and held.history[0]["extra"] > 0 == free.history[0]["extra"]
    assert free.history[-1]["masked_mse"] < free.history[0]["masked_mse"] * 2
    assert float(held.history[-1]["extra"]) < float(held.history[0]["extra"]), "the model learns its own picture"
    assert drift(held, "a photo of a thing") != drift(free, "a photo of a thing")


def test_files_of_the_page_are_files(tmp_path: Path) -> None:
    (tmp_path / "cosine.py").write_text(source_of("cosine.py"))
    from uce.core import load_manager

    manager = load_manager([str(tmp_path / "cosine.py")])
    assert manager.get("optimizer", "cosine").summary.startswith("Masked denoising whose learning rate falls")
