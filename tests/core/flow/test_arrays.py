"""What stages hand over is looked through once, and nobody's array is shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uce.core.errors import StageInputError
from uce.core.flow.arrays import as_booleans, as_floats, as_tensor, require_disjoint


def test_arrays_are_copied_and_tensors_lose_their_gradient() -> None:
    array = np.ones((2, 3), np.float32)
    tensor = as_tensor(array, "maps", 2, torch.float64)
    array[:] = 5
    assert tensor.dtype is torch.float64 and tensor.sum() == 6
    given = torch.ones(2, requires_grad=True)
    assert not as_tensor(given, "maps", 1).requires_grad


def test_what_cannot_be_used_is_one_sentence() -> None:
    with pytest.raises(
        StageInputError, match="maps must be a torch tensor or numpy array of numbers, found can't conv"
    ):
        as_tensor(np.array(["a"]), "maps", 1)
    with pytest.raises(StageInputError, match=r"maps must have 2 axes, found shape \(3,\)"):
        as_tensor(torch.ones(3), "maps", 2)
    with pytest.raises(StageInputError, match="maps holds values that are not finite; look for NaN or overflow"):
        as_floats(torch.tensor([1.0, float("inf")]), "maps", 1)
    with pytest.raises(
        StageInputError, match=r"masks must be boolean, found torch\.uint8; compare it with a threshold"
    ):
        as_booleans(torch.ones(2, dtype=torch.uint8), "masks", 1)


def test_half_precision_is_widened_and_double_is_kept() -> None:
    kinds = {dtype: as_floats(torch.ones(1, dtype=dtype), "maps", 1).dtype for dtype in (torch.float16, torch.float64)}
    assert kinds == {torch.float16: torch.float32, torch.float64: torch.float64}
    assert as_floats(torch.ones(1, dtype=torch.int64), "maps", 1).dtype is torch.float32


def test_masks_may_touch_and_not_overlap() -> None:
    masks = torch.zeros(3, 2, 2, dtype=torch.bool)
    masks[0, 0], masks[1, 1] = True, True
    require_disjoint(masks, "masks")
    masks[2, 1, 1] = True
    with pytest.raises(StageInputError, match="masks overlap; every cell belongs to at most one concept"):
        require_disjoint(masks, "masks")
