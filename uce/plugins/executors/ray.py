"""Executor: Ray actors, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

import uce
from uce.core import Assignment, Job, Outcome, PluginError, RunFolderError, UceError, lost_outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


log = logging.getLogger(__name__)

STARTS = 4
"""Times a cluster of our own is started: Ray gives its parts 30 s, whatever else the machine does, and then up."""

PATIENCE = 20.0
"""Seconds without an answer after which somebody looks whether there is still a cluster."""


class RayExecutor:
    """Works in Ray actors, one model each. Choose it for several machines; RAY_ADDRESS joins a cluster."""

    name = "ray"

    class Settings(uce.Settings):
        workers: int = Field(0, ge=0, le=100_000, description="actors; 0: as many as the cluster has room for")
        retries: int = Field(2, ge=0, le=100, description="times a picture is done again after its actor died")
        per_gpu: int = Field(1, ge=1, le=64, description="actors that share one GPU, each with a model of its own")

    @uce.hookimpl
    def uce_execute(self, jobs: Sequence[Job], assignment: Assignment, settings: Settings) -> Iterator[Outcome]:
        """Start actors with one GPU each (or a share), or as many CPUs as a worker has threads; each pulls a picture at
        a time. An actor that died, or whose machine did, is replaced, and its picture done again.
        """
        ray = _ray()
        ours = not ray.is_initialized()
        with contextlib.ExitStack() as ends:
            ends.enter_context(_apart_from_ray())
            if ours:
                ends.callback(ray.shutdown)
                _connect(ray)
            crew = _Crew(ray, jobs, assignment, settings)
            ends.callback(crew.stop)
            yield from crew.work()


class _Actor:
    """A worker within Ray; made by its first picture, so that what is wrong is an answer and no dead actor."""

    def __init__(self, assignment: str, folder: str) -> None:
        self.assignment, self.worker = assignment, None
        if Path(folder).is_dir():
            os.chdir(folder)  # settings may name files as the driver sees them

    def ready(self) -> tuple[str, str]:
        """Answered once the actor has found its place."""
        return "ready", ""

    def do(self, job: str) -> tuple[str, str]:
        """("outcome", its text) or ("refused", why)."""
        from uce.core import Assignment, Job, Worker

        try:
            worker: Any = self.worker or Worker(Assignment.from_text(self.assignment))
        except UceError as error:
            return "refused", str(error)
        self.worker = worker
        return "outcome", worker.do(Job.from_text(job)).to_text()


class _Apart:
    """Standard output for everybody but Ray's own threads, whose words go to the errors."""

    def __init__(self, original: Any) -> None:
        self.original = original

    def write(self, text: str) -> int:
        ray = threading.current_thread().name.startswith("ray_")
        return int((sys.stderr if ray else self.original).write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


@contextlib.contextmanager
def _apart_from_ray() -> Iterator[None]:
    """A driver prints what befell the cluster, told or not, to standard output: a document may stand there (--json)."""
    apart: Any = _Apart(sys.stdout)
    sys.stdout = apart
    try:
        yield
    finally:
        if sys.stdout is apart:
            sys.stdout = apart.original


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
        # Ray's own default is 15: beside anything else on this machine the batch would hardly move
        os.environ.setdefault("RAY_worker_niceness", "0")
    for start in range(1, STARTS + 1):
        try:
            ray.init(**options)
            return
        except Exception as error:
            if "timed out during startup" in str(error) and start < STARTS:
                log.warning("Ray took more than its 30 s to start; trying again")
                with contextlib.suppress(Exception):
                    ray.shutdown()
                continue
            cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            advice = "check RAY_ADDRESS, and set RAY_AUTH_MODE=token if the cluster asks for a token (docs/scale.md)"
            raise PluginError(f"executor 'ray' cannot reach or start a cluster: {cause}; {advice}") from error


class _Crew:
    """The actors, what each does, and the jobs that are left. An actor holds a picture only once it is there.

    Ray places actors and notices when one is gone, with its machine if need be; a new one takes its place. One that
    waits for room, because the machine of another is gone for good, keeps no picture waiting.
    """

    def __init__(self, ray: Any, jobs: Sequence[Job], assignment: Assignment, settings: RayExecutor.Settings) -> None:
        self.ray, self.retries = ray, settings.retries
        share: dict[str, float] = {"num_cpus": assignment.threads}
        if assignment.device == "cuda":
            share = {"num_gpus": 1 / settings.per_gpu, "num_cpus": 1}
        self.make = functools.partial(ray.remote(**share)(_Actor).remote, assignment.to_text(), str(Path.cwd()))
        self.left = deque((job, 1) for job in jobs)
        self.calls: dict[Any, tuple[Any, tuple[Job, int] | None]] = {}
        self.idle: list[Any] = []
        self.dead_on_arrival = 0
        for _ in range(min(_room(ray, share, settings.workers), len(jobs))):
            self._hire()

    def work(self) -> Iterator[Outcome]:
        """Until every job has an outcome."""
        while self.left or any(work is not None for _, work in self.calls.values()):
            ended, _ = self.ray.wait(list(self.calls), num_returns=1, timeout=PATIENCE)
            if not ended:
                self._look_for_life()
                continue
            actor, work = self.calls.pop(ended[0])
            try:
                kind, text = self.ray.get(ended[0])
            except self.ray.exceptions.RayTaskError as error:  # no picture's fault: those are outcomes
                raise PluginError(_broken(error)) from error
            except self.ray.exceptions.RayError as error:
                self._end(actor)  # Ray may only have lost sight of it: two must never work on one picture
                yield from self._lost(work, error)
                continue
            if kind == "refused":
                raise RunFolderError(text)
            if work is not None:
                yield dataclasses.replace(Outcome.from_text(text), attempts=work[1])
            self.idle.append(actor)
            self._hand_out()

    def _look_for_life(self) -> None:
        """Ray waits for a machine to come back, also where there is none left that could."""
        if not any(node["Alive"] for node in self.ray.nodes()):
            raise PluginError(
                "executor 'ray': the cluster has no machine left; finished pictures are kept: run the command again"
            )

    def stop(self) -> None:
        """End what still works: what a picture has done is on the disk."""
        for actor in [*self.idle, *(actor for actor, _ in self.calls.values())]:
            self._end(actor)

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(Exception):  # gone already, or the cluster is
            self.ray.kill(actor)

    def _hire(self) -> None:
        actor = self.make()
        self.calls[actor.ready.remote()] = actor, None

    def _hand_out(self) -> None:
        while self.left and self.idle:
            actor, work = self.idle.pop(), self.left.popleft()
            self.calls[actor.do.remote(work[0].to_text())] = actor, work

    def _lost(self, work: tuple[Job, int] | None, error: Exception) -> Iterator[Outcome]:
        """An actor died: another takes its place, and its picture, first of all."""
        if work is None:
            self.dead_on_arrival += 1
            if "error raised in its creation task" in str(error) or self.dead_on_arrival > 10 * (self.retries + 1):
                raise PluginError(_broken(error)) from error
        elif work[1] > self.retries:
            log.warning("actors died over %s (%s)", work[0].name, type(error).__name__)
            yield lost_outcome(work[0], work[1], type(error).__name__)
        else:
            self.left.appendleft((work[0], work[1] + 1))
        self._hire()
        self._hand_out()


def _broken(error: Exception) -> str:
    """What is wrong with the cluster rather than with a picture; the last line of Ray's own text says it."""
    cause = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]
    return f"executor 'ray': an actor cannot work: {cause}; every machine needs this uce, its plugins and this Python"


def _room(ray: Any, share: dict[str, float], asked: int) -> int:
    """Actors to start: an actor that has to wait for room would keep its picture waiting, too."""
    found = ray.cluster_resources()
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    room = min(int(found.get(names[key], 0) // amount) for key, amount in share.items())
    if room < 1:
        wanted = " and ".join(f"{amount:g} {names[key]}" for key, amount in share.items())
        raise PluginError(
            f"executor 'ray': a worker needs {wanted}, the cluster has {int(found.get('CPU', 0))} CPU and "
            f"{int(found.get('GPU', 0))} GPU; lower run.threads, or add machines"
        )
    return min(asked or room, room)
