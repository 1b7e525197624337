"""Stage data as tensors and plain values, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from uce.core.flow.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan

_KINDS = {kind.__name__: kind for kind in (AttentionMaps, Clusters, Concepts, TokenPlan, LearnedConcepts)}


StageData = AttentionMaps | Clusters | Concepts | TokenPlan | LearnedConcepts


def dump(data: StageData) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split stage data into tensors and plain values; mappings of tensors become tensors named "field/key"."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {"kind": type(data).__name__}
    for item in fields(data):
        value = getattr(data, item.name)
        if isinstance(value, Tensor):
            tensors[item.name] = value
        elif isinstance(value, Mapping):
            values[item.name] = {"keys": list(value)}
            tensors.update({f"{item.name}/{key}": tensor for key, tensor in value.items()})
        elif item.name == "history":
            values[item.name] = [dict(row) for row in value]
        else:
            values[item.name] = value
    return tensors, values


def parse(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> StageData:
    """The inverse of `dump`.

    Raises:
        KeyError, TypeError, AttributeError, UceError: not what `dump` made.
    """
    kind = _KINDS[values["kind"]]
    renamed: Mapping[str, str] = getattr(kind, "retired_fields", {})
    values = {renamed.get(key, key): value for key, value in values.items()}
    arguments: dict[str, Any] = {}
    for item in fields(kind):
        if item.name in tensors:
            arguments[item.name] = tensors[item.name]
        elif item.name in values:
            value = values[item.name]
            if isinstance(value, Mapping):
                value = {key: tensors[f"{item.name}/{key}"] for key in value["keys"]}
            arguments[item.name] = value
    return kind(**arguments)


def content_digest(data: StageData) -> str:
    """Hash of every byte of stage data."""
    tensors, values = dump(data)
    hasher = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        hasher.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        hasher.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return hasher.hexdigest()
