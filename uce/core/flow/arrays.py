"""What stages hand over, made into tensors and looked through."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from uce.core.errors import StageInputError

ArrayLike = Tensor | np.ndarray[Any, Any]


def as_tensor(value: ArrayLike, name: str, ndim: int, dtype: torch.dtype | None = None) -> Tensor:
    """A detached tensor of the wanted number of axes; numpy is copied, so that nobody's array is shared."""
    if isinstance(value, Tensor):
        tensor = value.detach()
    else:
        try:
            tensor = torch.from_numpy(np.array(value))
        except (TypeError, ValueError) as error:
            raise StageInputError(f"{name} must be a torch tensor or numpy array of numbers, found {error}") from error
    if tensor.ndim != ndim:
        raise StageInputError(f"{name} must have {ndim} axes, found shape {tuple(tensor.shape)}")
    return tensor if dtype is None else tensor.to(dtype)


def as_floats(value: ArrayLike, name: str, ndim: int) -> Tensor:
    """Float32 or float64, every value finite; half precision is widened."""
    tensor = as_tensor(value, name, ndim)
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        raise StageInputError(f"{name} holds values that are not finite; look for NaN or overflow where it is made")
    return tensor


def as_booleans(value: ArrayLike, name: str, ndim: int) -> Tensor:
    """Boolean already: what counts is not guessed."""
    tensor = as_tensor(value, name, ndim)
    if tensor.dtype is not torch.bool:
        raise StageInputError(f"{name} must be boolean, found {tensor.dtype}; compare it with a threshold first")
    return tensor


def require_disjoint(masks: Tensor, name: str) -> None:
    """Refuse masks (K, ...) that share a cell."""
    taken = torch.zeros(masks.shape[1:], dtype=torch.bool, device=masks.device)
    for mask in masks:  # a sum over all would take eight bytes per pixel
        if bool((taken & mask).any()):
            raise StageInputError(f"{name} overlap; every cell belongs to at most one concept")
        taken |= mask
