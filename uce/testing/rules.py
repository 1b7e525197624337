"""What holds for every stage whatever it computes: nothing given is changed, and the same seed gives the same bytes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uce.core.flow.picture import Picture


class ContractError(AssertionError):
    """A plugin breaks a rule of the contract.

    Attributes:
        rule: its name.
        where: which plugin, stage and input.
        found: what was seen.
        mend: what to change.
    """

    def __init__(self, rule: str, where: str, found: str, mend: str) -> None:
        super().__init__(f"{where} breaks the rule '{rule}': {found}. To mend it: {mend}.")
        self.rule, self.where, self.found, self.mend = rule, where, found, mend


def digests(value: Any, name: str = "", seen: tuple[int, ...] = ()) -> dict[str, str]:
    """Path -> hash of every tensor, array and plain value within `value`; a picture or model counts by its parts."""
    if isinstance(value, Tensor):
        return {name: _hash(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy(), value)}
    if isinstance(value, np.ndarray):
        return {name: _hash(np.ascontiguousarray(value).view(np.uint8), value)}
    if value is None or isinstance(value, str | bytes | int | float | bool):
        return {name: repr(value)}
    if id(value) in seen:
        return {}
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Picture):  # without what it remembers about itself
        parts = [("pixels", value.pixels), ("original", value.original)]
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [(item.name, getattr(value, item.name)) for item in fields(value)]
    elif isinstance(value, Mapping):
        parts = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, Sequence):
        parts = [(str(index), item) for index, item in enumerate(value)]
    elif isinstance(value, torch.nn.Module):
        parts = [*value.named_parameters(), *value.named_buffers()]
    elif hasattr(value, "__dict__"):
        parts = list(vars(value).items())
    found: dict[str, str] = {}
    for key, item in parts:
        found |= digests(item, f"{name}.{key}" if name else key, (*seen, id(value)))
    return found


def _hash(flat: np.ndarray[Any, Any], value: Any) -> str:
    return f"{hashlib.sha256(flat.tobytes()).hexdigest()} {tuple(value.shape)} {value.dtype}"


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Paths whose hash is not the same, sorted."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def global_state() -> dict[str, str]:
    """Everything that belongs to the whole process and that a stage must leave as it is."""
    numpy_state = np.random.get_state(legacy=False)
    return {
        "torch's random state (torch.*)": _bytes(torch.get_rng_state().numpy()),
        "numpy's random state (np.random.*)": repr(numpy_state["state"]) + _bytes(numpy_state["state"]["key"]),
        "Python's random state (random.*)": repr(random.getstate()),
        "torch's gradient mode": str(torch.is_grad_enabled()),
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's number of threads": str(torch.get_num_threads()),
        "torch's deterministic mode": str(torch.are_deterministic_algorithms_enabled()),
    }


def _bytes(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Global random states seeded with `seed`, all global state put back afterwards."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    grad, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
