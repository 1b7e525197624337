"""Executor: Ray actors, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

import uce
from uce.core.errors import PluginError, RunFolderError, UceError

if TYPE_CHECKING:
    from uce.core.jobs import Assignment, Job, Outcome


log = logging.getLogger(__name__)


class RayExecutor:
    """Works in Ray actors, one model each. Choose it for several machines; RAY_ADDRESS joins a cluster."""

    name = "ray"

    class Settings(uce.Settings):
        workers: int = Field(0, ge=0, le=100_000, description="actors; 0: as many as the cluster has room for")
        retries: int = Field(2, ge=0, le=100, description="times a picture is done again after its actor died")

    @uce.hookimpl
    def uce_execute(self, jobs: Sequence[Job], assignment: Assignment, settings: Settings) -> Iterator[Outcome]:
        """Start actors with one GPU each, or as many CPUs as a worker has threads; each pulls a picture at a time.

        Ray replaces an actor that died, or whose machine did, and gives the replacement the same picture again.
        """
        ray = _ray()
        ours = not ray.is_initialized()
        try:
            if ours:
                _connect(ray)
            yield from _work(ray, jobs, assignment, settings)
        finally:
            if ours:
                ray.shutdown()


class _Actor:
    """A worker within Ray; made by its first picture, so that what is wrong is an answer and no dead actor."""

    def __init__(self, assignment: str, folder: str) -> None:
        self.assignment, self.worker = assignment, None
        if Path(folder).is_dir():
            os.chdir(folder)  # settings may name files as the driver sees them

    def do(self, job: str) -> tuple[str, str]:
        """("outcome", its text) or ("refused", why)."""
        from uce.core.jobs import Assignment, Job
        from uce.core.worker import Worker

        try:
            worker: Any = self.worker or Worker(Assignment.from_text(self.assignment))
        except UceError as error:
            return "refused", str(error)
        self.worker = worker
        return "outcome", worker.do(Job.from_text(job)).to_text()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise PluginError(
            f"executor 'ray' needs Ray ({error}); install it with pip install 'uce-concepts[ray]', or use "
            "--executor processes"
        ) from error
    return ray


def _connect(ray: Any) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if not os.environ.get("RAY_ADDRESS"):
        path = os.pathsep.join(entry for entry in sys.path if entry)
        options |= {"include_dashboard": False, "runtime_env": {"env_vars": {"PYTHONPATH": path}}}
    try:
        ray.init(**options)
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise PluginError(f"executor 'ray' cannot reach or start a cluster: {cause}; check RAY_ADDRESS") from error


def _work(ray: Any, jobs: Sequence[Job], assignment: Assignment, settings: RayExecutor.Settings) -> Iterator[Outcome]:
    from uce.core.jobs import Outcome, lost

    share = {"num_gpus": 1, "num_cpus": 1} if assignment.device == "cuda" else {"num_cpus": assignment.threads}
    actor_class = ray.remote(max_restarts=-1, max_task_retries=settings.retries, **share)(_Actor)
    left = iter(jobs)
    actors = [
        actor_class.remote(assignment.to_text(), str(Path.cwd()))
        for _ in range(min(_room(ray, share, settings.workers), len(jobs)))
    ]
    running: dict[Any, tuple[Any, Job]] = {}
    for actor, job in zip(actors, left, strict=False):
        running[actor.do.remote(job.to_text())] = actor, job
    while running:
        ended, _ = ray.wait(list(running), num_returns=1)
        actor, job = running.pop(ended[0])
        try:
            kind, text = ray.get(ended[0])
        except ray.exceptions.RayError as error:
            log.warning("actors died over %s (%s)", job.name, type(error).__name__)
            yield lost(job, settings.retries + 1, type(error).__name__)
        else:
            if kind == "refused":
                raise RunFolderError(text)
            yield Outcome.from_text(text)
        following = next(left, None)
        if following is not None:
            running[actor.do.remote(following.to_text())] = actor, following


def _room(ray: Any, share: dict[str, int], asked: int) -> int:
    """Actors to start: an actor that has to wait for room would keep its picture waiting, too."""
    found = ray.cluster_resources()
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    room = min(int(found.get(names[key], 0) // amount) for key, amount in share.items())
    if room < 1:
        wanted = " and ".join(f"{amount} {names[key]}" for key, amount in share.items())
        raise PluginError(
            f"executor 'ray': a worker needs {wanted}, the cluster has {int(found.get('CPU', 0))} CPU and "
            f"{int(found.get('GPU', 0))} GPU; lower run.threads, or add machines"
        )
    return min(asked or room, room)
