"""What people hold in their hands: a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from uce.batching.folder import BatchFolder
from uce.batching.index import Index
from uce.core.errors import RunFolderError, unknown_name
from uce.core.work.held import Run


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch's folder, read."""

    folder: BatchFolder

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def document(self) -> dict[str, Any]:
        """batch.json."""
        return self.folder.read()

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One per picture that ended, as batch.jsonl has them."""
        return list(Index(self.folder / "batch.jsonl").rows.values())

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The rows of pictures that failed; `error` says why."""
        return [row for row in self.rows if row["status"] == "failed"]

    def run(self, name: str) -> Run:
        """A picture's run.

        Raises:
            RunFolderError: no such picture, or it left no run.
        """
        if name not in (known := [row["name"] for row in self.rows]):
            raise RunFolderError(unknown_name("picture", name, known))
        run = Run(self.folder.run(name))
        _ = run.info, run.concepts
        return run

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        keys = ("pictures", "counts", "worked_on", "seconds", "executor", "localize_only")
        files = [name for name in self.folder.FILES if (self.path / name).is_file()]
        failures = [{key: row[key] for key in ("name", "source", "error", "attempts")} for row in self.failures]
        return {
            "folder": str(self.path), **{key: self.document[key] for key in keys}, "failures": failures, "files": files
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)
