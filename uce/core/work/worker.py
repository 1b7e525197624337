"""A worker of a batch: plugins and model loaded once, pictures one after the other.

`python -m uce.core.work.worker` is one in a process of its own. It reads lines from stdin, first an `Assignment`, then
jobs, and answers each job with one line on what was its stdout. When stdin ends it is gone at once, in mid-picture if
need be: a driver that was killed leaves no workers behind that would write beside those of the next one.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from uce.core.config.options import Options
from uce.core.errors import RunFolderError, UceError
from uce.core.files.datasets import is_row
from uce.core.files.sources import read_source
from uce.core.files.urls import is_url
from uce.core.flow.jobs import Assignment, Job, Outcome
from uce.core.flow.picture import picture_digest
from uce.core.logs import configure_from_environment
from uce.core.registry.manager import Manager, load_manager
from uce.core.runs.folder import RunFolder
from uce.core.work.attempts import FINISHED, attempt
from uce.core.work.opening import open_work
from uce.core.work.pipeline import Work

log = logging.getLogger("uce.core.work.worker")  # also where it is the main module


def finished_status(folder: RunFolder, localize_only: bool) -> str | None:
    """The status of a run that needs no more work, None where there is work left."""
    if not folder.is_run:
        return None
    try:
        status = folder.read_run().get("status")
    except RunFolderError:  # damaged: done again
        return None
    return status if status in (FINISHED if localize_only else ("done",)) else None


class Worker(AbstractContextManager["Worker"]):
    """Does the jobs of one batch. Make it once and leave it with `close`, or use it in a `with`.

    Args:
        assignment: what holds for every picture.
        manager: plugins that are loaded already; None: those that the assignment names.

    Raises:
        RunFolderError: the batch was begun again meanwhile, and other workers do its pictures.
        PluginError: a plugin cannot be loaded here.
    """

    def __init__(self, assignment: Assignment, manager: Manager | None = None) -> None:
        self.assignment = assignment
        self.folder = Path(assignment.folder)
        self.lock_file = self.folder / "work" / f"worker-{uuid.uuid4().hex}.lock"
        self.lock = FileLock(self.lock_file)
        # First the lock, then the look at the owner: the next driver writes its name first and then looks at the locks.
        self.lock.acquire()
        try:
            self._check_owner()
            self.manager = manager or load_manager(assignment.plugin, assignment.no_plugin)
        except BaseException:
            self.close()
            raise

    def _check_owner(self) -> None:
        try:
            owner = json.loads((self.folder / "work" / "owner.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{self.folder} is not worked on, as seen from here; every worker must see that folder"
            ) from error
        if owner.get("token") != self.assignment.token:
            raise RunFolderError(f"{self.folder} was taken over by process {owner.get('pid')} on {owner.get('host')}")

    def do(self, job: Job) -> Outcome:
        """Work on one picture; whatever is wrong with it is in the outcome."""
        folder = RunFolder(self.folder / "runs" / job.name)
        status = finished_status(folder, self.assignment.localize_only)
        if status is not None:
            return Outcome(job.name, status)
        log.info("%s begins: %s", job.name, job.source)
        ended = attempt(lambda: self._begin(job, folder), folder.path, localize_only=self.assignment.localize_only)
        log.info("%s %s%s", job.name, ended.status, f": {ended.error}" if ended.error else "")
        return Outcome(job.name, ended.status, ended.error, ended.empty, round(ended.seconds, 3))

    def _begin(self, job: Job, folder: RunFolder) -> Work:
        config = Options(**job.options).resolve(self.manager, base=self.assignment.config)
        original = read_source(job.source)
        continued = begun_alike(folder, config.to_dict(), picture_digest(original))
        named = is_url(job.source) or is_row(job.source)
        name = job.source.rstrip("/").rpartition("/")[2] if named else Path(job.source).name
        return open_work(self.manager, config, original, name, folder, continued=continued, overwrite=True)

    def close(self) -> None:
        """Let go of the batch's folder."""
        self.lock_file.unlink(missing_ok=True)
        self.lock.release()

    def __exit__(self, *_: object) -> None:
        self.close()


def begun_alike(folder: RunFolder, config: dict[str, Any], digest: str) -> bool:
    """Whether an unfinished run can be continued: the same picture, the same settings."""
    from uce.core.config.resolving import load_config_file

    if not folder.is_run or not (folder / "config.yaml").is_file():
        return False
    try:
        return folder.read_run().get("input", {}).get("digest") == digest and (
            load_config_file(folder / "config.yaml") == config
        )
    except UceError:  # damaged: begun anew
        return False


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def main() -> None:
    """A worker process: see the module's text."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    configure_from_environment()
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    try:
        worker = Worker(Assignment.from_text(lines.get()))
    except UceError as error:
        print(json.dumps({"refused": str(error)}), file=answers, flush=True)
        return
    while True:
        outcome = worker.do(Job.from_text(lines.get()))
        print(outcome.to_text(), file=answers, flush=True)


if __name__ == "__main__":
    main()
