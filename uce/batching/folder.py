"""All that one batch leaves on disk, and the lock that keeps two of them apart.

DIR/batch.json      what was asked: settings, executor, counts
DIR/pictures.jsonl  name, source and options of every picture
DIR/batch.jsonl     the index: a line per picture that ended; DIR/batch.parquet where pyarrow is installed
DIR/batch.html      a contact sheet
DIR/runs/<name>/    one run folder each
DIR/work/           locks of those that work now
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from uce.core.errors import RunFolderError
from uce.core.files.writing import write_json
from uce.core.runs.facts import now
from uce.many.folder import ResultFolder, remove_empty

PATIENCE = 30.0
"""Seconds that workers of a driver that was killed have to be gone; those on other machines notice late."""


class BatchFolder(ResultFolder):
    """Paths of one batch."""

    COMMAND, NOUN, DOCUMENT = "batch", "a batch", "batch.json"
    FILES = ("batch.jsonl", "batch.parquet", "batch.html", "pictures.jsonl")

    def read(self) -> dict[str, Any]:
        """batch.json.

        Raises:
            RunFolderError: missing, damaged, or of a newer format.
        """
        document = super().read()
        config = document.get("config")
        run = config.get("run") if isinstance(config, dict) else None
        numbers = [run.get(key) for key in ("threads", "micro_batch")] if isinstance(run, dict) else [None]
        if not all(type(number) is int for number in numbers) or not isinstance(document.get("localize_only"), bool):
            raise RunFolderError(f"{self.path / self.DOCUMENT} is damaged; begin anew with --overwrite")
        return document

    def require(self) -> None:
        """Refuse to go on where somebody removed the folder, or batch.json, while the batch worked.

        Raises:
            RunFolderError: so it is.
        """
        if not self.begun:
            raise RunFolderError(
                f"{self.path} was removed while a batch worked in it; give the same command again, and leave the "
                "folder until it ends"
            )

    def _is_ours(self, name: str) -> bool:
        return name == "work" or super()._is_ours(name)

    @contextmanager
    def locked(self) -> Iterator[str]:
        """Keep other batches out while this one works; the operating system lets go of a lock when its process dies.

        Returns:
            a token that workers compare, so that none of an earlier start goes on.

        Raises:
            RunFolderError: another batch works here, or the folder cannot be written to.
        """
        work, made = self.path / "work", not self.path.exists()
        try:
            work.mkdir(parents=True, exist_ok=True)
            lock = FileLock(work / "batch.lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunFolderError(self._owned()) from error
        except (OSError, NotImplementedError) as error:
            raise RunFolderError(f"cannot lock the folder {self.path}: {error}; give another folder with -o") from error
        try:
            token = uuid.uuid4().hex
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": now(), "token": token}
            write_json(work / "owner.json", owner)
            self._wait_for_workers(work)
            yield token
        finally:
            _forget(work)
            lock.release()
            if made:
                self._leave_nothing(work)

    def _leave_nothing(self, work: Path) -> None:
        """A batch that was refused leaves no folder behind."""
        if self.path.is_dir() and not self.begun and not any(path.name != "work" for path in self.path.iterdir()):
            (work / "batch.lock").unlink(missing_ok=True)
            remove_empty(work)
            remove_empty(self.path)

    def _owned(self) -> str:
        try:
            owner: Any = json.loads((self.path / "work" / "owner.json").read_text(encoding="utf-8"))
            who = f"process {owner['pid']} on {owner['host']} since {owner['since']}"
        except (OSError, ValueError, KeyError, TypeError):  # it begins just now
            who = "another process"
        return f"{self.path} is being worked on by {who}; wait for its end, or give another folder with -o"

    def _wait_for_workers(self, work: Path) -> None:
        """Workers of a start before, whose driver is dead, must be gone."""
        for path in work.glob("worker-*.lock"):
            lock = FileLock(path)
            try:
                lock.acquire(timeout=PATIENCE)
            except Timeout as error:
                raise RunFolderError(
                    f"a worker of an earlier start still works in {self.path} ({path.name}); end it, then try again"
                ) from error
            path.unlink(missing_ok=True)
            lock.release()


def _forget(work: Path) -> None:
    """Remove the traces of who works, but for the lock: others may wait for that very file."""
    (work / "owner.json").unlink(missing_ok=True)
    for path in work.glob("worker-*.lock"):
        path.unlink(missing_ok=True)
