"""Distances between distributions over grid cells, batched, as losses on the second distribution.

`sinkhorn` is the paper's alignment loss: entropic optimal transport after a fixed, small number of iterations. With
entropic weight reg = 1e-3 and a cost of one per cell the plan is far from converged: mass hardly moves and the value
is near 0. What teaches is the gradient, which is the dual potential reached so far:

    v_n = log nu - LSE_i(u_{n-1} - C / reg),   u_n = log mu - LSE_j(v_n - C / reg),   u_0 = 0,
    value = <exp(u_n + v_n - C / reg), C>,     d value / d nu := reg * v_n   (up to a constant).

As long as no mass moves, v_n = n log nu - (n - 1) log mu exactly: a steep cross-entropy. So the loop starts where that
stops being true (often never), and goes on with matrix products instead of N x N exponentials: with alpha and beta the
potentials absorbed so far, exp(alpha + beta - C / reg) is scaled by factors near 1, which are absorbed before they
leave the range of the number format. The update is non-expansive (no iteration changes a potential by more than the
one before did), so one iteration in the log domain says how many are safe. Measured on one CPU core (16 x 16 cells,
200 iterations): 3 to 50 ms a pair, where POT's torch backend takes 200 (stabilised) to 420 ms (log domain).

Legend: B pairs; N cells.
Sources: Hao et al., ECCV 2024 (ConceptExpress), section 4.2; Cuturi, NeurIPS 2013; Schmitzer, SIAM J. Sci. Comput. 2019
(absorption).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-20
"""Smallest share of mass of a cell, relative to the whole: keeps logarithms, and with them gradients, finite."""


@lru_cache(maxsize=8)
def cell_distances(grid: tuple[int, int], device: str = "cpu", dtype: torch.dtype = torch.float64) -> Tensor:
    """Euclidean distance in cells between all pairs of cells of `grid` (h, w), row-major: (N, N)."""
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    points_N2 = torch.stack([y.flatten(), x.flatten()], dim=1).double()
    return torch.cdist(points_N2, points_N2, compute_mode="donot_use_mm_for_euclid_dist").to(dtype).to(device)


def still_iterations(log_mu_BN: Tensor, log_nu_BN: Tensor, cost_NN: Tensor, reg: float, iterations: int) -> int:
    """How many leading iterations move no mass, so that their potentials are known without computing them.

    Potentials then are multiples of r = log mu - log nu; mass moves from i to j once n (r_i - r_j) nears C_ij / reg.
    """
    ratio_BN = log_mu_BN - log_nu_BN
    # neighbours' share must stay below exp(-40); u counts n, v one more log mu - log nu difference of either sign
    slack = log_mu_BN.amax() - log_mu_BN.amin() + 40
    if not bool(slack.isfinite()):
        return 0
    widest = float(ratio_BN.amax() - ratio_BN.amin())
    if cost_NN.numel() > 1 and widest * iterations <= float(cost_NN[0, 1:].min()) / reg - float(slack):
        return iterations  # no pair of cells can do it, however near
    gap_BNN = ratio_BN[:, :, None] - ratio_BN[:, None, :]
    room_NN = (cost_NN / reg - slack).masked_fill(cost_NN == 0, float("inf"))
    most = (room_NN / gap_BNN.abs().clamp_min(1e-30)).amin()
    return int(most.clamp(0, iterations))


def sinkhorn_potentials(
    mu_BN: Tensor, nu_BN: Tensor, cost_NN: Tensor, reg: float = 1e-3, iterations: int = 200
) -> tuple[Tensor, Tensor, Tensor]:
    """Run `iterations` Sinkhorn updates from u = 0.

    Args:
        mu_BN: non-negative, rows sum to 1, float64 (float32 where a device has nothing wider).
        nu_BN: the same, and positive.
        cost_NN: distances between the cells of a grid, row-major.

    Returns:
        u (B, N), v (B, N): logarithms of the scalings; value (B,): transport cost of the plan they make.
    """
    log_mu, log_nu = mu_BN.log(), nu_BN.log()
    limit = 250.0 if mu_BN.dtype == torch.float64 else 25.0
    done = still_iterations(log_mu, log_nu, cost_NN, reg, iterations)
    u = done * (log_mu - log_nu) if done else torch.zeros_like(log_mu)
    v = log_nu - (done - 1) * (log_mu - log_nu) if done else log_nu
    if done == iterations:
        return u, v, torch.zeros_like(u[:, 0])  # what has moved is less than exp(-40)
    log_kernel = -cost_NN / reg
    while done < iterations:
        before = u
        v = log_nu - torch.logsumexp(log_kernel + u[:, :, None], dim=1)
        u = log_mu - torch.logsumexp(log_kernel + v[:, None, :], dim=2)
        done += 1
        # cells without mass go from 0 to -inf once (an infinite change) and stay there (nan: no change)
        change = float((u - before).abs().nan_to_num(nan=0.0, posinf=float("inf")).max())
        safe = min(iterations - done, int(limit / max(change, limit / iterations)) - 1)
        if safe > 0:
            plan = (log_kernel + u[:, :, None] + v[:, None, :]).exp()
            a, b = _scale(plan, mu_BN, nu_BN, safe)
            u, v, done = u + a.log(), v + b.log(), done + safe
    plan = (log_kernel + u[:, :, None] + v[:, None, :]).exp()
    return u, v, (plan * cost_NN).sum(dim=(1, 2))


def _scale(plan_BNN: Tensor, mu_BN: Tensor, nu_BN: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """`times` Sinkhorn updates by products: the factors a (B, N) on rows and b (B, N) on columns."""
    mu, nu, empty = mu_BN[:, :, None], nu_BN[:, :, None], (mu_BN == 0)[:, :, None]
    across = plan_BNN.mT.contiguous()
    a = b = torch.ones_like(mu)
    for _ in range(times):
        b = nu / (across @ a)
        a = mu / (plan_BNN @ b).masked_fill_(empty, 1.0)
        a = a.masked_fill_(empty, 1.0)  # rows of the plan that are empty stay so whatever their factor
    return a[..., 0], b[..., 0]


class _Sinkhorn(torch.autograd.Function):
    """Value of the plan; gradient on nu is the potential (see the module's text), none on mu."""

    @staticmethod
    def forward(ctx: Any, nu_BN: Tensor, mu_BN: Tensor, cost_NN: Tensor, reg: float, iterations: int) -> Tensor:
        wide = torch.float32 if nu_BN.device.type == "mps" else torch.float64
        mu, nu = mu_BN.detach().to(wide), nu_BN.detach().to(wide).clamp_min(FLOOR)
        # on a CPU one pair at a time: a batch of plans does not fit the caches, which is 2 to 3 times slower
        step = 1 if mu.device.type == "cpu" else max(len(mu), 1)
        parts = [
            sinkhorn_potentials(mu[i : i + step], nu[i : i + step], cost_NN.to(wide), reg, iterations)
            for i in range(0, len(mu), step)
        ]
        v, value = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
        ctx.save_for_backward((reg * v).to(nu_BN.dtype))
        return value.to(nu_BN.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (potential_BN,) = ctx.saved_tensors
        return grads[0][:, None] * potential_BN, None, None, None, None


def normalise(x_BN: Tensor) -> Tensor:
    """Each row divided by its sum; rows without any mass become uniform."""
    num_cells = x_BN.shape[1]
    total = x_BN.sum(dim=1, keepdim=True)
    empty = total <= 0
    return torch.where(empty, torch.full_like(x_BN, 1 / num_cells), x_BN / total.masked_fill(empty, 1))


def sinkhorn(
    target_BN: Tensor, attention_BN: Tensor, grid: tuple[int, int], reg: float = 1e-3, iterations: int = 200
) -> Tensor:
    """The paper's alignment loss of each pair, (B,), differentiable in `attention_BN`.

    Args:
        target_BN: non-negative (B, N), any scale: the concept's map.
        attention_BN: non-negative (B, N), any scale: the token's cross-attention.
        grid: (h, w) with h * w = N.
    """
    cost_NN = cell_distances(grid, str(attention_BN.device), _wide(attention_BN))
    value: Tensor = _Sinkhorn.apply(normalise(attention_BN), normalise(target_BN), cost_NN, reg, iterations)  # type: ignore[no-untyped-call]
    return value


def kl(target_BN: Tensor, attention_BN: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(attention || target) of each pair, (B,), differentiable in `attention_BN`.

    Its gradient, log nu - log mu, is what `sinkhorn` gives per iteration and unit of `reg` while no mass moves.
    """
    mu, nu = normalise(target_BN.detach()).clamp_min(FLOOR), normalise(attention_BN)
    # a floor that is added, not clamped, keeps the gradient of an exact zero alive
    return (nu * ((nu + FLOOR).log() - mu.log())).sum(dim=1)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64
