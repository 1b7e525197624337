"""Tensors with a JSON header, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from uce.core.files.documents import parse_json
from uce.core.files.writing import write_safetensors


def save_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors with a JSON header, whole or not at all."""
    write_safetensors(path, tensors, {"uce": json.dumps(values)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_tensors` wrote; None where there is no readable file of that kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            values = parse_json((file.metadata() or {})["uce"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return (tensors, values) if isinstance(values, dict) else None
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, SafetensorError):
        return None
