"""One queue: in order, one at a time, stopped when asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from uce.core.errors import ConfigError, ImageError, NothingFoundError
from uce.ui.jobs import CANCELLED, DONE, FAILED, Job, JobQueue, friendly, in_words


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    queue = JobQueue(longest=2)
    yield queue
    queue.close()


class Gate:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, job: Job) -> None:
        self.begun.set()
        while not self.go.wait(0.01):
            job.check()


def settle(*jobs: Job) -> None:
    for job in jobs:
        for _ in range(3000):
            if not job.active:
                break
            threading.Event().wait(0.01)
        assert not job.active


def test_jobs_wait_for_each_other_in_order(queue: JobQueue) -> None:
    gate, seen = Gate(), []
    first = queue.submit(Job("a", "find", "", gate))
    gate.begun.wait(20)
    second = queue.submit(Job("b", "find", "", lambda job: seen.append("b")))
    third = queue.submit(Job("c", "find", "", lambda job: seen.append("c")))
    assert [queue.ahead(job) for job in (first, second, third)] == [0, 1, 2]
    with pytest.raises(ConfigError, match="too many people"):
        queue.submit(Job("d", "find", "", gate))
    gate.go.set()
    settle(first, second, third)
    assert seen == ["b", "c"] and first.status == DONE and first.share == 1


def test_one_persons_jobs_do_not_fill_the_queue() -> None:
    queue, gate = JobQueue(longest=9, of_one=1), Gate()
    job = queue.submit(Job("a", "find", "", gate))
    gate.begun.wait(20)
    queue.submit(Job("a", "find", "", gate))
    with pytest.raises(ConfigError, match="1 of your jobs are waiting"):
        queue.submit(Job("a", "find", "", gate))
    queue.submit(Job("b", "find", "", gate))
    gate.go.set()
    settle(job)
    queue.close()


def test_stopping_a_job_that_runs_and_one_that_waits(queue: JobQueue) -> None:
    gate = Gate()
    running, waiting = queue.submit(Job("a", "find", "", gate)), None
    gate.begun.wait(20)
    waiting = queue.submit(Job("b", "find", "", gate))
    queue.cancel(waiting)
    assert waiting.status == CANCELLED
    queue.cancel(running)
    settle(running)
    assert running.status == CANCELLED


def test_the_worker_outlives_a_job_that_fails(queue: JobQueue) -> None:
    def bad(job: Job) -> None:
        raise ZeroDivisionError("secret details")

    failed = queue.submit(Job("a", "find", "", bad))
    settle(failed)
    assert failed.status == FAILED and "secret" not in failed.problem
    done = queue.submit(Job("a", "find", "", lambda job: None))
    settle(done)
    assert done.status == DONE


def test_closing_stops_everything() -> None:
    queue, gate = JobQueue(), Gate()
    job = queue.submit(Job("a", "find", "", gate))
    gate.begun.wait(20)
    queue.close()
    assert job.status == CANCELLED
    with pytest.raises(ConfigError, match="too many people are waiting"):
        queue.submit(Job("a", "find", "", gate))


def test_problems_are_sentences() -> None:
    assert friendly(ImageError("the file is no picture")) == "The file is no picture."
    assert "Nothing stood out" in friendly(NothingFoundError("no concept; lower refiner.saliency.threshold"))
    assert "memory" in friendly(RuntimeError("CUDA out of memory"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4, "a few seconds left"), (42, "about 40 s left"), (200, "about 3 min left"), (7300, "about 2 h left")],
)
def test_time_that_is_left_is_said_roughly(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def test_whoever_asked_hears_how_a_job_ended(queue: JobQueue) -> None:
    heard: list[tuple[str, str]] = []
    gate = Gate()
    jobs = [Job("a", "find", name, gate, ended=lambda job, status: heard.append((job.title, status))) for name in "xy"]
    queue.submit(jobs[0])
    gate.begun.wait(20)
    queue.submit(jobs[1])
    queue.cancel(jobs[1])
    gate.go.set()
    settle(*jobs)
    assert heard == [("y", CANCELLED), ("x", DONE)]
