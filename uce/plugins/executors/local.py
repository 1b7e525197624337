"""Executor: this process, one picture after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import uce

if TYPE_CHECKING:
    from uce.core import Assignment, Job, Manager, Outcome


class LocalExecutor:
    """Works in this process, the model loaded once. Choose it for one GPU, or little memory."""

    name = "local"

    @uce.hookimpl
    def uce_execute(self, jobs: Sequence[Job], assignment: Assignment, manager: Manager) -> Iterator[Outcome]:
        """Do the jobs in order; observers hear every stage."""
        from uce.core import Worker

        with Worker(assignment, manager) as worker:
            for job in jobs:
                yield worker.do(job)
