"""Sinkhorn distances between grid distributions; agreement with the reference is in tests/oracles."""

from __future__ import annotations

import ot
import pytest
import torch

from uce.core.training.sinkhorn import cell_distances, kl, normalise, sinkhorn, sinkhorn_potentials

GRID = (8, 8)


def maps(contrast: float, num: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(num, 64, generator=generator) * contrast).exp()


def slowly(mu, nu, cost, reg, iterations):
    """The iteration as it is written in the books."""
    u = torch.zeros_like(mu)
    for _ in range(iterations):
        v = nu.log() - torch.logsumexp(u[:, :, None] - cost / reg, dim=1)
        u = mu.log() - torch.logsumexp(v[:, None, :] - cost / reg, dim=2)
    return u, v, ((u[:, :, None] + v[:, None, :] - cost / reg).exp() * cost).sum(dim=(1, 2))


@pytest.mark.parametrize("contrast", [0.0, 0.5, 2.0, 6.0])
@pytest.mark.parametrize("iterations", [1, 7, 200])
@pytest.mark.parametrize("reg", [1e-3, 0.5])
def test_shortcuts_equal_the_plain_iteration(contrast, iterations, reg):
    mu, nu = normalise(maps(contrast).double()), normalise(maps(contrast, seed=1).double())
    cost = cell_distances(GRID)
    for ours, plain in zip(
        sinkhorn_potentials(mu, nu, cost, reg, iterations), slowly(mu, nu, cost, reg, iterations), strict=True
    ):
        assert torch.allclose(ours, plain, rtol=1e-9, atol=1e-9)


def test_float32_where_nothing_wider_exists():
    mu, nu = normalise(maps(3.0)), normalise(maps(3.0, seed=1))
    cost = cell_distances(GRID)
    _, wide, _ = sinkhorn_potentials(mu.double(), nu.double(), cost, iterations=200)
    _, narrow, _ = sinkhorn_potentials(mu, nu, cost.float(), iterations=200)
    assert float((narrow - wide).abs().max() / wide.abs().max()) < 1e-4


def test_converges_to_what_pot_finds():
    mu, nu, cost = normalise(maps(1.0).double()), normalise(maps(1.0, seed=1).double()), cell_distances(GRID)
    _, _, value = sinkhorn_potentials(mu, nu, cost, reg=1.0, iterations=2000)
    for i in range(2):
        plan = ot.sinkhorn(mu[i], nu[i], cost, reg=1.0, method="sinkhorn_log", numItermax=5000, stopThr=1e-12)
        assert float((plan * cost).sum()) == pytest.approx(float(value[i]), rel=1e-6)


def test_gradient_while_no_mass_moves_is_the_closed_form():
    target, attention = maps(0.5).double(), maps(0.5, seed=1).double().requires_grad_()
    sinkhorn(target, attention, GRID).sum().backward()
    mu, nu = normalise(target), normalise(attention.detach()).requires_grad_()
    potential = 1e-3 * (200 * nu.detach().log() - 199 * mu.log())
    other = attention.detach().clone().requires_grad_()
    (normalise(other) * potential).sum().backward()
    assert torch.allclose(attention.grad, other.grad, rtol=1e-9, atol=1e-15)


def test_descent_moves_attention_to_the_target():
    target = maps(1.5, num=1)
    logits = torch.zeros(1, 64, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=20.0)
    before = float((normalise(target) - logits.detach().softmax(dim=1)).abs().sum())
    for _ in range(150):
        optimizer.zero_grad()
        sinkhorn(target, logits.softmax(dim=1), GRID).sum().backward()
        optimizer.step()
    assert float((normalise(target) - logits.detach().softmax(dim=1)).abs().sum()) < 0.15 * before


@pytest.mark.parametrize("distance", ["sinkhorn", "kl"])
@pytest.mark.parametrize("where", ["attention", "target", "both", "all"])
def test_exact_zeros_give_finite_gradients(distance, where):
    target, attention = maps(1.0), maps(1.0, seed=1)
    if where in ("target", "both"):
        target[:, ::3] = 0
    if where in ("attention", "both"):
        attention[:, ::2] = 0
    if where == "all":
        attention[:] = 0
    attention.requires_grad_()
    value = sinkhorn(target, attention, GRID) if distance == "sinkhorn" else kl(target, attention)
    value.sum().backward()
    assert value.isfinite().all() and attention.grad.isfinite().all()


def test_equal_maps_are_at_distance_zero_whatever_their_scale():
    target = maps(1.0)
    assert sinkhorn(target, target * 7, GRID).abs().max() < 1e-6
    assert kl(target, target * 7).abs().max() < 1e-6


def test_kl_teaches_nearly_the_same():
    target, attention = maps(1.0), maps(0.3, seed=1).requires_grad_()
    (ours,) = torch.autograd.grad(kl(target, attention).sum(), attention)
    (paper,) = torch.autograd.grad(sinkhorn(target, attention, GRID).sum(), attention)
    cosine = torch.nn.functional.cosine_similarity(ours, paper, dim=1)
    assert cosine.min() > 0.99
    assert torch.allclose(0.2 * ours.norm(dim=1), paper.norm(dim=1), rtol=0.05)


def test_distances_between_cells():
    cost = cell_distances((2, 3))
    assert cost[0].tolist() == pytest.approx([0, 1, 2, 1, 2**0.5, 5**0.5])
    assert torch.equal(cost, cost.T) and float(cost.diagonal().abs().max()) == 0
