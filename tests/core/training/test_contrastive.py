"""Supervised contrastive loss; agreement with the reference is in tests/oracles."""

from __future__ import annotations

import pytest
import torch

from uce.core.training.contrastive import supervised_contrastive


def test_by_hand():
    z = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    z /= z.norm(dim=1, keepdim=True)
    expected = 0.0
    for i, p, others in ((0, 2, (1, 2)), (2, 0, (0, 1))):  # vector 1 is alone with its label
        expected -= float(z[i] @ z[p] / 0.5 - torch.stack([z[i] @ z[a] / 0.5 for a in others]).logsumexp(0)) / 2
    found = supervised_contrastive(z * torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([0, 1, 0]), 0.5)
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("num", [1, 3])
def test_one_split_per_concept_gives_zero(num):
    vectors = torch.randn(num, 8, requires_grad=True)
    loss = supervised_contrastive(vectors, torch.arange(num))
    loss.backward()
    assert float(loss.detach()) == 0 and vectors.grad.abs().max() == 0


def test_descent_gathers_concepts():
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(5)
    vectors = torch.randn(15, 16, requires_grad=True)
    optimizer = torch.optim.SGD([vectors], lr=1.0)
    first = float(supervised_contrastive(vectors, labels).detach())
    for _ in range(30):
        optimizer.zero_grad()
        loss = supervised_contrastive(vectors, labels)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.8 * first
