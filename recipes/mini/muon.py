"""Muon: momentum whose matrices are made orthogonal before they are applied.

Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/ ; the update's scale follows
Liu et al., 2025 (arXiv:2502.16982), so that learning rates compare with AdamW's. Convolutions
count as matrices (out, in * kernel). On a small model trained for few updates it learns more
per picture than AdamW, which is what counts on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, rounds: int = 5, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Nearest (half-)orthogonal matrices to (..., rows, columns), roughly, by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    x = matrix.to(dtype)
    flip = x.shape[-2] > x.shape[-1]
    x = x.mT if flip else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.mT if flip else x).float()
    return result


class Muon(torch.optim.Optimizer):
    """Muon for weights of two dimensions or more; bfloat16 is enough for the iterations, where it is quick."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.dtype = dtype
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = {}  # on a GPU many small products cost more than few large ones
            for number, weight in enumerate(group["params"]):
                if weight.grad is not None:
                    alike.setdefault(weight.shape if weight.is_cuda else number, []).append(weight)
            for weights in alike.values():
                self._update(weights, group)

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        aheads = [self._ahead(weight, group["momentum"]).reshape(len(weight), -1) for weight in weights]
        updates = orthogonalise(torch.stack(aheads), dtype=self.dtype)
        for weight, update in zip(weights, updates, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(update.reshape(weight.shape), alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)

    def _ahead(self, weight: Tensor, momentum: float) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        gradient = weight.grad
        assert gradient is not None
        buffer: Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)


OUTER = ("embedding", "conv_in.", "conv_out.", "_embed")
"""Parts of names of weights that are no hidden matrices."""


def split_parameters(
    named: Iterable[tuple[str, torch.nn.Parameter]], more: tuple[str, ...] = ()
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights for Muon (hidden matrices and convolutions) and the rest, and those with one of `more`, for AdamW."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in named:
        outer = any(part in name for part in (*OUTER, *more))
        (matrices if parameter.ndim >= 2 and not outer else others).append(parameter)
    return matrices, others
