"""AdamW written out repeats torch's, bit for bit; clipping bounds the norm over all parameters."""

from __future__ import annotations

import pytest
import torch

from uce.core.training.adamw import BETA1, BETA2, EPSILON, adamw, taken_gradients


def test_it_repeats_torch_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 5, generator=generator)
    theirs = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([theirs], lr=0.03, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=0.1, foreach=False)
    ours, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for number in range(1, 30):
        grad = torch.randn(3, 5, generator=generator) * 10 ** (number % 5 - 2)
        theirs.grad = grad.clone()
        optimizer.step()
        adamw(ours, grad, first, second, number, 0.03, 0.1)
        assert torch.equal(ours, theirs.detach()), number


def with_gradients() -> dict[str, torch.Tensor]:
    found = {"a": torch.zeros(2, requires_grad=True), "b": torch.zeros(1, requires_grad=True),
             "none": torch.zeros(3, requires_grad=True)}  # fmt: skip
    found["a"].grad, found["b"].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    return found


def test_the_norm_is_over_all_of_them() -> None:
    taken = taken_gradients(with_gradients(), clip=1.0)
    assert torch.stack([grad.square().sum() for grad in taken.values()]).sum().sqrt() == pytest.approx(1, rel=1e-5)
    assert taken["a"][0] / taken["b"][0] == pytest.approx(3 / 4)
    assert torch.equal(taken["none"], torch.zeros(3))


@pytest.mark.parametrize(
    ("clip", "scale", "first"), [(0.0, 1.0, 3.0), (6.0, 1.0, 3.0), (0.0, 2.0, 1.5), (2.5, 2.0, 1.5)]
)
def test_short_gradients_stay_and_the_losss_scale_goes_first(clip: float, scale: float, first: float) -> None:
    parameters = with_gradients()
    assert taken_gradients(parameters, clip, scale)["a"][0] == pytest.approx(first)
    assert all(parameter.grad is None for parameter in parameters.values())
