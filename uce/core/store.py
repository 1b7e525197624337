"""Stage results and checkpoints on disk, as safetensors with a JSON header; no pickle.

A stage's key is a hash of everything its result depends on, so that a cached result is used exactly where computing
it again would give the same bytes.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uce.core.config import Choice
from uce.core.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
from uce.core.documents import parse_json
from uce.core.errors import ConfigError, UceError
from uce.core.files import write_safetensors

FORMAT = 1
CACHE_LIMIT_BYTES = 1 << 30
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


def source_digest(obj: Any) -> str:
    """Hash of the source file of a plugin object; of its type's name where it has none."""
    target = obj if inspect.ismodule(obj) else type(obj)
    try:
        source = inspect.getsourcefile(target)
        return hashlib.sha256(Path(source or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return hashlib.sha256(repr(target).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give a file that can") from error


def stage_key(choice: Choice, wrappers: list[Any], facts: Mapping[str, Any]) -> str:
    """Key of a stage's result.

    Args:
        choice: the selected plugin and its settings.
        wrappers: plugin objects that wrap the stage.
        facts: what else it depends on: input, upstream keys, model, seed, device, precision, threads, versions.
    """
    document = {
        "format": FORMAT,
        "stage": choice.stage,
        "plugin": [choice.plugin.name, choice.plugin.distribution, choice.plugin.version],
        "source": source_digest(choice.plugin.obj),
        "wrappers": [source_digest(obj) for obj in wrappers],
        "settings": choice.settings.model_dump(mode="json"),
        "files": [[path.name, _file_digest(path)] for path in choice.settings.input_files()],
        **facts,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


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


class StageCache:
    """Stage results in a folder; without a folder it keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, stage: str, key: str) -> StageData | None:
        """The result of `stage` under `key`, or None."""
        found = self.find(stage)
        return found[1] if found is not None and found[0] == key else None

    def find(self, stage: str) -> tuple[str, StageData] | None:
        """(key, result) of `stage` as it lies there; None where nothing readable does."""
        found = None if self.folder is None else load_tensors(self.folder / f"{stage}.safetensors")
        if found is None:
            return None
        try:
            return str(found[1]["key"]), parse(found[0], found[1]["data"])
        except (
            LookupError,
            TypeError,
            AttributeError,
            ValueError,
            RuntimeError,
            UceError,
        ):  # somebody else's, or an older uce's
            return None

    def put(self, stage: str, key: str, data: StageData) -> None:
        """Keep a result, unless it alone is larger than the cache may be."""
        if self.folder is None:
            return
        tensors, values = dump(data)
        if sum(t.numel() * t.element_size() for t in tensors.values()) <= CACHE_LIMIT_BYTES:
            save_tensors(self.folder / f"{stage}.safetensors", tensors, {"key": key, "data": values})


class FileCheckpoint:
    """One stage's state in one file, valid only for the key it was made with."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        found = load_tensors(self.path)
        if found is None or found[1].get("key") != self.key or not isinstance(found[1].get("values"), dict):
            return None
        return found[0], found[1]["values"]

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        save_tensors(self.path, tensors, {"key": self.key, "values": dict(values)})
