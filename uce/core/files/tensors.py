"""Tensors with a JSON header, in one safetensors file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uce.core.files.documents import parse_json
from uce.core.files.writing import write_safetensors

_PACKED = "packed bits"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors with a JSON header, whole or not at all; masks take a bit per pixel."""
    shapes = {name: list(value.shape) for name, value in tensors.items() if value.dtype == torch.bool}
    packed = {name: _pack(value) if name in shapes else value for name, value in tensors.items()}
    write_safetensors(path, packed, {"uce": json.dumps({**values, **({_PACKED: shapes} if shapes else {})})})


def _pack(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.detach().cpu().numpy()))


def _unpack(bits: Tensor, shape: list[int]) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=math.prod(shape)).view(bool).reshape(shape))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_tensors` wrote; None where there is no readable file of that kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            values = parse_json((file.metadata() or {})["uce"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not isinstance(values, dict):
            return None
        for name, shape in values.pop(_PACKED, {}).items():
            tensors[name] = _unpack(tensors[name], shape)
        return tensors, values
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, SafetensorError):
        return None
