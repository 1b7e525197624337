"""Stage results that several runs share: one file per key, the least recently used go first where space is short."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from uce.core.errors import UceError
from uce.core.store import StageData, dump, load_tensors, parse, save_tensors

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
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RuntimeError,
            UceError,
        ):  # an older uce's, or damaged
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
