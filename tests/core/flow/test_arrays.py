"""What stages hand over, made into tensors and looked through."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uce.core import StageInputError
from uce.core.flow.arrays import as_booleans, as_floats, as_tensor, require_disjoint


def test_numpy_is_copied_and_a_tensor_is_not() -> None:
    array, tensor = np.zeros((2, 3)), torch.zeros(2, 3, requires_grad=True)
    copied, same = as_tensor(array, "maps", 2), as_tensor(tensor, "maps", 2)
    array += 1
    assert float(copied.sum()) == 0
    assert same.data_ptr() == tensor.data_ptr() and not same.requires_grad
    assert as_tensor(array, "maps", 2, torch.int64).dtype is torch.int64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([["a"]], "maps must be a torch tensor or numpy array of numbers, found"),
        (np.zeros(3), r"maps must have 2 axes, found shape \(3,\)"),
        (torch.zeros(1, 2, 3), r"maps must have 2 axes, found shape \(1, 2, 3\)"),
    ],
)
def test_what_is_no_tensor_of_so_many_axes(given: np.ndarray, said: str) -> None:
    with pytest.raises(StageInputError, match=said):
        as_tensor(given, "maps", 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.bool])
def test_floats_are_float32_at_least(dtype: torch.dtype) -> None:
    assert as_floats(torch.ones(2, dtype=dtype), "scores", 1).dtype is torch.float32
    assert as_floats(torch.ones(2, dtype=torch.float64), "scores", 1).dtype is torch.float64


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite(value: float) -> None:
    with pytest.raises(StageInputError, match="scores holds values that are not finite"):
        as_floats(torch.tensor([0.0, value]), "scores", 1)


def test_booleans_are_not_guessed() -> None:
    assert as_booleans(np.array([True, False]), "masks", 1).tolist() == [True, False]
    with pytest.raises(StageInputError, match=r"masks must be boolean, found torch\.uint8; compare it"):
        as_booleans(torch.ones(2, dtype=torch.uint8), "masks", 1)


def test_masks_share_no_cell() -> None:
    masks = torch.eye(3, dtype=torch.bool).reshape(3, 1, 3)
    require_disjoint(masks, "masks")
    require_disjoint(masks[:0], "masks")
    masks[2, 0, 0] = True
    with pytest.raises(StageInputError, match="masks overlap; every cell belongs to at most one concept"):
        require_disjoint(masks, "masks")
