"""Work that takes a while: one queue for everybody, one worker, since there is one model. Pages only look at it, so a
job goes on while its page is reloaded."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from uce.core.errors import ConfigError, NothingFoundError, UceError
from uce.core.flow.events import Stopped

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"


class Cancelled(Stopped):
    """Somebody pressed Stop: to a run the same as Ctrl-C."""


@dataclass(eq=False)
class Job:
    """A piece of work and how far it is.

    Attributes:
        owner: id of the workspace it belongs to.
        kind: "find", "learn" or "draw".
        title: what people read, such as "Finding the things in your picture".
        work: does it; it is given the job to report to.
        share: of the work that is done, in [0, 1]. note: what it does now.
        losses: (update, total loss) so far. samples: (data: address, caption) drawn on the way.
        problem: a sentence for the person, where it failed.
        picture: the picture that it works on; None where it is about none.
        left: seconds that it will still take, where that is known.
        ended: called with its last status before that is set.
    """

    owner: str
    kind: str
    title: str
    work: Callable[[Job], None]
    status: str = QUEUED
    share: float = 0.0
    note: str = ""
    losses: list[tuple[int, float]] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    begun: float = 0.0
    picture: Any = None
    left: float | None = None
    ended: Callable[[Job, str], None] = lambda job, status: None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def active(self) -> bool:
        return self.status in (QUEUED, RUNNING)

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Called between two pieces of the work.

        Raises:
            Cancelled: somebody asked for it.
        """
        if self._stop.is_set():
            raise Cancelled

    def run(self) -> None:
        """Do the work; whatever goes wrong is kept as a sentence."""
        if self._stop.is_set():
            self.finish(CANCELLED)
            return
        self.status, self.begun = RUNNING, time.monotonic()
        try:
            self.work(self)
            self.share, ended = 1.0, DONE
        except KeyboardInterrupt:
            ended = CANCELLED
        except BaseException as error:  # the worker must outlive it
            self.problem, ended = friendly(error), FAILED
        self.finish(ended)

    def finish(self, status: str) -> None:
        """It is over, run or not."""
        self.left = None
        with contextlib.suppress(Exception):  # what only tells about a job must not stop the next one
            self.ended(self, status)
        self.status = status


def friendly(error: BaseException) -> str:
    """What went wrong, for somebody who sees no terminal."""
    if isinstance(error, NothingFoundError):
        return "Nothing stood out in this picture. Paint the thing yourself, or try a picture with a calmer background."
    if isinstance(error, UceError):
        text = " ".join(str(error).split())
        return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "There was not enough memory for this. Try a smaller model, or fewer things at once."
    return f"Something went wrong that should not have ({type(error).__name__}). Try again; the terminal has details."


def in_words(seconds: float) -> str:
    """A time that is left: "about 40 s left", "about 3 min left"."""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 90:
        return f"about {round(seconds, -1):.0f} s left"
    minutes = seconds / 60
    return f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.0f} h left"


class JobQueue:
    """Jobs in the order in which they came, done one at a time by a thread of its own.

    Args:
        longest: jobs that may wait. of_one: those of one person.
        prepare: what the thread does before the first job, such as loading the model; it may fail.
    """

    def __init__(self, longest: int = 50, of_one: int = 20, prepare: Callable[[], object] = lambda: None) -> None:
        self.longest, self.of_one, self.prepare = longest, of_one, prepare
        self.ready = False
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Let the worker begin; the first job does so, too."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._loop, name="uce-ui-worker", daemon=True)
                self._thread.start()

    def submit(self, job: Job) -> Job:
        """Put a job at the end.

        Raises:
            ConfigError: its owner has too many in it, or it is full.
        """
        with self._changed:
            if sum(one.owner == job.owner for one in self._waiting) >= self.of_one:
                raise ConfigError(f"{self.of_one} of your jobs are waiting; let some of them be done first")
            if self._closed or len(self._waiting) >= self.longest:
                raise ConfigError("too many people are waiting just now; try again in a few minutes")
            self._waiting.append(job)
            self._changed.notify_all()
        self.start()
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job: at once where it waits, at its next step where it runs."""
        with self._changed:
            job._stop.set()
            if job in self._waiting:
                self._waiting.remove(job)
                job.finish(CANCELLED)

    def ahead(self, job: Job) -> int:
        """How many jobs come before a waiting one."""
        with self._changed:
            if job not in self._waiting:
                return 0
            return self._waiting.index(job) + (self._running is not None)

    def close(self) -> None:
        """Take no more, stop what runs, and wait for it a moment."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.finish(CANCELLED)
            self._waiting.clear()
            if self._running is not None:
                self._running._stop.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=10)

    def _loop(self) -> None:
        with contextlib.suppress(Exception):  # a job that needs the same will say what is wrong
            self.prepare()
        self.ready = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                self._running = job = self._waiting.popleft()
            job.run()
            with self._changed:
                self._running = None
