"""What holds for every executor: one outcome per job, as its worker gave it, and no worker left behind."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from uce.core.config.options import Options
from uce.core.errors import PluginError
from uce.core.flow.jobs import Assignment, Job, Outcome
from uce.core.registry.manager import Manager, load_manager
from uce.core.runs.folder import RunFolder
from uce.testing.tries import Refused, judged, require

PATIENCE = 10.0
"""Seconds that workers have to end in."""

Execute = Callable[..., Any]


def check_executor(execute: Execute, where: str) -> None:
    """Give it jobs that need no model: some that were done before, one whose picture is missing.

    One whose packages are not here is not tried further.

    Raises:
        ContractError: a rule is broken.
    """
    manager = load_manager()
    with tempfile.TemporaryDirectory() as folder:
        assignment = _assignment(Path(folder), manager)
        jobs = [Job(f"before-{n}", str(Path(folder) / "a.png")) for n in range(2)]
        for job in jobs:
            RunFolder(Path(folder) / "runs" / job.name).update_run(status="localized")
        jobs.append(Job("missing", str(Path(folder) / "no such picture.png")))
        try:
            with judged(where, PluginError):
                outcomes = list(_started(execute, jobs, assignment, manager, where))
        except Refused:
            return
        _check_outcomes(jobs, outcomes, where)
        with judged(where):
            none = list(_started(execute, [], assignment, manager, where))
            require(not none, "one outcome per job", where, f"of no jobs it made {len(none)} outcomes", "yield none")
            half = _started(execute, jobs, assignment, manager, where)
            next(half)
            getattr(half, "close", lambda: None)()
            del half
        require(
            _nobody_works(Path(folder) / "work"),
            "closing stops all workers",
            where,
            "after its iterator was closed a worker still holds the batch's folder",
            "end workers in `finally`, or make them in a `with` around the loop that yields",
        )


def _assignment(folder: Path, manager: Manager) -> Assignment:
    (folder / "work").mkdir()
    (folder / "work" / "owner.json").write_text(json.dumps({"token": "kit"}), encoding="utf-8")
    config = Options(device="cpu", set={"run.threads": 1}).resolve(manager).to_dict()
    return Assignment(str(folder), "kit", config, localize_only=True)


def _started(
    execute: Execute, jobs: list[Job], assignment: Assignment, manager: Manager, where: str
) -> Iterator[Outcome]:
    found = execute(jobs=jobs, assignment=assignment, manager=manager)
    require(
        hasattr(found, "__next__"),
        "an iterator",
        where,
        f"uce_execute returned {type(found).__name__}",
        "yield each outcome as it ends: write uce_execute as a generator",
    )
    return found  # type: ignore[no-any-return]


def _check_outcomes(jobs: list[Job], outcomes: list[Any], where: str) -> None:
    for outcome in outcomes:
        require(
            isinstance(outcome, Outcome),
            "outcomes",
            where,
            f"it yielded {type(outcome).__name__}",
            "yield what worker.do(job) returns, or uce.core.lost_outcome(job, attempts, cause)",
        )
    counts = Counter(outcome.name for outcome in outcomes)
    wrong = [job.name for job in jobs if counts[job.name] != 1] + [n for n in counts if n not in {j.name for j in jobs}]
    require(
        not wrong,
        "one outcome per job",
        where,
        f"job {wrong[0] if wrong else ''!r} has {counts[wrong[0]] if wrong else 0} outcomes",
        "yield one for every job, also where it failed",
    )
    found = {outcome.name: (outcome.status, bool(outcome.error)) for outcome in outcomes}
    expected = {job.name: ("localized", False) for job in jobs} | {"missing": ("failed", True)}
    differs = [name for name in expected if found[name] != expected[name]]
    require(
        not differs,
        "outcomes as the worker gave them",
        where,
        f"job {differs[0] if differs else ''!r} ended {found[differs[0]] if differs else ''}",
        "pass on the worker's status and error as they are",
    )


def _nobody_works(folder: Path) -> bool:
    """Whether every worker let go of its lock within `PATIENCE` seconds."""
    end = time.monotonic() + PATIENCE
    while True:
        held = [path for path in folder.glob("worker-*.lock") if _held(path)]
        if not held or time.monotonic() > end:
            return not held
        time.sleep(0.05)


def _held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return path.exists()
