"""Executors: each rule, with an executor that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import uce
from uce.core import PluginError, Worker
from uce.testing import ContractError, check_plugin, executors


def executor(work: Callable[..., Any]) -> type:
    class Sample:
        """A sample."""

        @uce.hookimpl
        def uce_execute(self, jobs: Any, assignment: Any, manager: Any) -> Any:
            return work(jobs, assignment, manager)

    return Sample


def good(jobs: Any, assignment: Any, manager: Any) -> Iterator[Any]:
    with Worker(assignment, manager) as worker:
        for job in jobs:
            yield worker.do(job)


def only(count: int) -> Callable[..., Iterator[Any]]:
    return lambda jobs, *given: good(jobs[:count], *given)


def twice(jobs: Any, *given: Any) -> Iterator[Any]:
    for outcome in good(jobs, *given):
        yield outcome
        yield outcome


def rosy(jobs: Any, *given: Any) -> Iterator[Any]:
    for outcome in good(jobs, *given):
        yield replace(outcome, status="done", error=None)


def always_one(jobs: Any, *given: Any) -> Iterator[Any]:
    yield from good(jobs, *given)
    if not jobs:
        yield uce.core.Outcome("nothing", "done")


KEPT: list[Worker] = []


def careless(jobs: Any, assignment: Any, manager: Any) -> Iterator[Any]:
    KEPT.append(Worker(assignment, manager))
    for job in jobs:
        yield KEPT[-1].do(job)
    KEPT[-1].close()


def missing(*given: Any) -> Iterator[Any]:
    raise PluginError("executor far needs the package far; install it with pip install far")
    yield


def test_a_good_one_and_one_whose_packages_are_not_here() -> None:
    assert check_plugin(executor(good)).stages == ("executor",)
    check_plugin(executor(missing))


@pytest.mark.parametrize(
    ("work", "rule"),
    [
        (lambda *given: list(good(*given)), "an iterator"),
        (only(1), "one outcome per job"),
        (twice, "one outcome per job"),
        (always_one, "one outcome per job"),
        (rosy, "outcomes as the worker gave them"),
        (lambda jobs, *given: iter([job.name for job in jobs]), "outcomes"),
        (careless, "closing stops all workers"),
    ],
)
def test_broken_executors(work: Callable[..., Any], rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.2)
    with pytest.raises(ContractError, match="breaks the rule") as caught:
        check_plugin(executor(work))
    assert caught.value.rule == rule, caught.value
    while KEPT:
        KEPT.pop().close()
