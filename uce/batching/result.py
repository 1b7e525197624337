"""What people hold in their hands: a batch."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from uce.batching.folder import BatchFolder
from uce.batching.index import Index
from uce.core.errors import RunFolderError, unknown_name
from uce.core.work.held import Run
from uce.many.result import Results


class Batch(Results[BatchFolder]):
    """A batch's folder, read; `document` is batch.json."""

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
        return self._open(name)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        keys = ("pictures", "counts", "worked_on", "seconds", "executor", "localize_only")
        files = [name for name in (*self.folder.FILES, self.folder.DOCUMENT) if (self.path / name).is_file()]
        failures = [{key: row[key] for key in ("name", "source", "error", "attempts")} for row in self.failures]
        return {
            "folder": str(self.path), **{key: self.document[key] for key in keys}, "failures": failures, "files": files
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)
