"""Stage results and checkpoints on disk, as safetensors with a JSON header; no pickle.

A stage's key is a hash of everything its result depends on, so that a cached result is used exactly where computing
it again would give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from uce.core.errors import ConfigError, UceError
from uce.core.files.tensors import load_tensors, save_tensors
from uce.core.flow.configuration import Choice
from uce.core.flow.serial import StageData, dump, parse
from uce.core.work.source_code import source_digest

FORMAT = 1
CACHE_LIMIT_BYTES = 1 << 30
UNREADABLE = (LookupError, TypeError, AttributeError, ValueError, RuntimeError, UceError)
"""What parsing a file raises that is damaged, somebody else's or an older uce's."""


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
        except UNREADABLE:
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


SHARED_LIMIT_BYTES = 4 << 30


@dataclass(frozen=True)
class Kept:
    """A result that was found again.

    Attributes:
        seconds: what computing it took, back then.
        reused: another run computed it; False where it is this one's own, of before an interruption.
    """

    data: StageData
    seconds: float
    reused: bool


@dataclass(frozen=True)
class SharedStore:
    """Stage results by key in one folder, for the runs of an ablation.

    Attributes:
        folder: where they lie.
        owner: name of the run that asks, kept with what it computes.
        limit: bytes that the folder may hold; a result that alone is larger is not kept.
    """

    folder: Path
    owner: str
    limit: int = SHARED_LIMIT_BYTES

    def get(self, key: str) -> Kept | None:
        """The result under `key`, or None where nothing readable lies."""
        path = self._path(key)
        found = load_tensors(path)
        if found is None:
            return None
        try:
            kept = Kept(
                data=parse(found[0], found[1]["data"]),
                seconds=float(found[1]["seconds"]),
                reused=found[1]["owner"] != self.owner,
            )
        except UNREADABLE:
            return None
        with contextlib.suppress(OSError):  # deleted meanwhile: what was read is good
            os.utime(path)
        return kept

    def put(self, key: str, data: StageData, seconds: float) -> None:
        """Keep a result, and forget the least recently used ones where it would not fit beside them."""
        tensors, values = dump(data)
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        if size > self.limit:
            return
        self._make_room(self.limit - size)
        save_tensors(self._path(key), tensors, {"key": key, "data": values, "seconds": seconds, "owner": self.owner})

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _make_room(self, allowed: int) -> None:
        """Delete what was not used for longest until the rest takes at most `allowed` bytes."""
        found = sorted(
            (path.stat().st_mtime_ns, path.stat().st_size, path) for path in self.folder.glob("*.safetensors")
        )
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= allowed:
                break
            path.unlink(missing_ok=True)
            total -= size
