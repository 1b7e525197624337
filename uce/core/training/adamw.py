"""AdamW written out, for parameters whose state must survive a merge and be saved whole.

It repeats `torch.optim.AdamW` bit for bit (and spares its start-up: the first step of a torch optimiser imports the
compiler).

Source: Loshchilov and Hutter, ICLR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def taken_gradients(parameters: Mapping[str, Tensor], clip: float, scale: float = 1.0) -> dict[str, Tensor]:
    """The gradients of `parameters` (zero where there is none), which are cleared there.

    Args:
        clip: bound on the gradient's norm over all of them; 0 leaves it as it is.
        scale: what the loss was multiplied by.
    """
    grads = {}
    for name, parameter in parameters.items():
        grads[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad / scale
        parameter.grad = None
    if clip > 0 and grads:
        norm = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
        shrink = (clip / (norm + 1e-6)).clamp(max=1.0)
        grads = {name: grad * shrink for name, grad in grads.items()}
    return grads


@torch.no_grad()
def adamw(
    parameter: Tensor,
    grad: Tensor,
    first: Tensor,
    second: Tensor,
    num_updates: int,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """One update of `parameter` and its moments in place; `num_updates` counts this one."""
    correction1, correction2 = 1 - BETA1**num_updates, 1 - BETA2**num_updates
    parameter.mul_(1 - learning_rate * weight_decay)
    first.lerp_(grad, 1 - BETA1)
    second.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
    spread = (second.sqrt() / math.sqrt(correction2)).add_(EPSILON)
    parameter.addcdiv_(first, spread, value=-learning_rate / correction1)
