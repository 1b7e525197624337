"""Weights of the model that train: AdamW on them, and a checkpoint that goes on bit for bit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from uce.core import StageInputError
from uce.core.training.model_weights import ModelWeights


def weights(rate: float = 0.1) -> ModelWeights:
    parameters = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}
    for value in parameters.values():
        value.requires_grad_()
    return ModelWeights(SimpleNamespace(parameters=parameters, export=lambda: dict(parameters)), rate)  # type: ignore[arg-type]


def work(trained: ModelWeights, numbers: range, share: float = 1.0) -> None:
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        for value in trained.parameters.values():
            value.grad = torch.randn(value.shape, generator=generator)
        trained.update(share)


def test_it_goes_on_where_a_checkpoint_was_made() -> None:
    whole, begun, resumed = weights(), weights(), weights()
    work(whole, range(6))
    work(begun, range(3))
    resumed.restore(begun.tensors(), begun.num_updates)
    work(resumed, range(3, 6))
    for name, value in whole.tensors().items():
        assert torch.equal(resumed.tensors()[name], value), name


def test_a_checkpoint_is_a_copy() -> None:
    trained = weights()
    kept = trained.tensors()
    before = {name: value.clone() for name, value in kept.items()}
    work(trained, range(2))
    assert all(torch.equal(kept[name], value) for name, value in before.items())


def test_without_a_share_only_the_moments_move() -> None:
    trained = weights()
    before = trained.tensors()
    work(trained, range(1), share=0.0)
    assert torch.equal(trained.tensors()["weights.a"], before["weights.a"])
    assert not torch.equal(trained.tensors()["weights first.a"], before["weights first.a"])


def test_the_digest_is_of_numbers_and_names() -> None:
    assert weights().digest() == weights().digest() != weights(0.2).digest()


def test_what_is_not_finite_is_refused() -> None:
    trained = weights()
    with torch.no_grad():
        trained.parameters["b"][0, 0] = float("nan")
    with pytest.raises(StageInputError, match="the trained weight b is not finite; try a lower learning rate"):
        trained.export()
