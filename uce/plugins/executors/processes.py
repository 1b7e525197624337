"""Executor: several processes on this machine that pull pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

import uce
from uce.core import PluginError, RunFolderError

if TYPE_CHECKING:
    from uce.core import Assignment, Job, Outcome


log = logging.getLogger(__name__)


class ProcessesExecutor:
    """Works in several processes, each with its own model. Choose it for one machine of many cores or GPUs."""

    name = "processes"

    class Settings(uce.Settings):
        workers: int = Field(
            0, ge=0, le=1024, description="processes; 0: one per GPU, or on a CPU as many as its cores have threads for"
        )
        retries: int = Field(2, ge=0, le=100, description="times a picture is done again after its process died")

    @uce.hookimpl
    def uce_execute(self, jobs: Sequence[Job], assignment: Assignment, settings: Settings) -> Iterator[Outcome]:
        """Start the processes; each takes the next picture when it is done with one, and is replaced when it dies."""
        team = _Team(jobs, assignment, settings.retries)
        try:
            yield from team.work(min(settings.workers or _workers(assignment), len(jobs)))
        finally:
            team.stop()


def _workers(assignment: Assignment) -> int:
    if assignment.device == "cuda":
        return max(1, _gpus())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // assignment.threads) if assignment.device == "cpu" else 1


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


class _DiedError(Exception):
    """A worker process is gone."""


class _Team:
    """The processes, a thread for each that feeds it, and the jobs that are left."""

    def __init__(self, jobs: Sequence[Job], assignment: Assignment, retries: int) -> None:
        self.assignment, self.retries = assignment, retries
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            self.jobs.put(job)
        self.ended: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    def work(self, count: int) -> Iterator[Outcome]:
        self.threads = [threading.Thread(target=self._feed, args=(slot,), daemon=True) for slot in range(count)]
        for thread in self.threads:
            thread.start()
        while count:
            ended = self.ended.get()
            if isinstance(ended, BaseException):
                raise ended
            if ended is None:
                count -= 1
            else:
                yield ended

    def stop(self) -> None:
        """Kill what still works: what a picture has done is on the disk."""
        self.stopping.set()
        for thread in self.threads:
            while thread.is_alive():  # a thread may be starting a process just now
                for process in list(self.processes.values()):
                    process.kill()
                thread.join(0.05)
        for process in self.processes.values():
            _end(process)

    def _feed(self, slot: int) -> None:
        try:
            while not self.stopping.is_set():
                try:
                    job = self.jobs.get_nowait()
                except queue.Empty:
                    break
                self.ended.put(self._do(slot, job))
            self.ended.put(None)
        except BaseException as error:
            self.ended.put(error)

    def _do(self, slot: int, job: Job) -> Outcome:
        from uce.core import lost_outcome

        cause = ""
        for attempts in range(1, self.retries + 2):
            try:
                return dataclasses.replace(self._ask(slot, job), attempts=attempts)
            except _DiedError as error:
                cause = str(error)
                log.warning("a worker died over %s (%s), attempt %d", job.name, cause, attempts)
                if self.stopping.is_set():
                    break
        return lost_outcome(job, attempts, cause)

    def _ask(self, slot: int, job: Job) -> Outcome:
        """Send a job to the slot's process, started where there is none, and wait for its answer."""
        from uce.core import Outcome

        process = self.processes.get(slot) or self._start(slot)
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(job.to_text() + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            del self.processes[slot]
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)  # its own exit code says more than that of the kill
            code = _end(process)
            raise _DiedError(f"signal {-code}" if code < 0 else f"exit code {code}")
        document = json.loads(line)
        if "refused" in document:
            raise RunFolderError(document["refused"])
        return Outcome(**document)

    def _start(self, slot: int) -> subprocess.Popen[str]:
        # what the driver can import, its workers can
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if self.assignment.device == "cuda":
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            gpus = visible if visible != [""] else [str(number) for number in range(_gpus())]
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "uce.core.work.worker"],
                env=environment,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the driver, which ends its workers
                **options,
            )
        except OSError as error:
            raise PluginError(f"executor 'processes' cannot start a process: {error}; use --executor local") from error
        self.processes[slot] = process
        assert process.stdin is not None
        process.stdin.write(self.assignment.to_text() + "\n")
        return process


def _end(process: subprocess.Popen[str]) -> int:
    """Kill, if it still lives, and collect the exit code."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # unsent text and nobody to read it
                continue
    return process.wait()
