"""Every configuration on every picture, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uce.core.config.options import Options
from uce.core.runs.folder import RunFolder
from uce.core.work.attempts import Attempt
from uce.core.work.held import Run
from uce.many.engine import Engine, with_micro_batch
from uce.many.subjects import Subject

Make = Callable[..., Engine]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders that were worked on; those called "bad" fail, in "empty" nothing is found."""
    names: list[str] = []

    def attempt(begin: Any, path: Path, *, localize_only: bool) -> Attempt:
        names.append(f"{path.parent.name}/{path.name}")
        if path.name in ("bad", "empty"):
            return Attempt("failed", f"no luck in {path.name}", path.name == "empty", None)
        RunFolder(path).update_run(status="localized", stages=[{"stage": "extractor", "seconds": 1.0}])
        return Attempt("localized", None, False, None)

    monkeypatch.setattr("uce.many.engine.attempt", attempt)
    return names


@pytest.fixture
def make(tmp_path: Path) -> Make:
    options = Options()
    manager = options.manager()
    subjects = [Subject(name, np.zeros((4, 4, 3), np.uint8)) for name in ("x", "y")]

    def engine(*names: str, **more: Any) -> Engine:
        configs = {name: options.resolve(manager) for name in names}
        place: Any = lambda name, picture: RunFolder(tmp_path / "runs" / picture / name)  # noqa: E731
        return Engine(manager, configs, subjects, place, True, **more)

    return engine


def work(engine: Engine) -> list[str]:
    return [engine.do(name, subject).result["status"] for name, subject in engine.jobs()]


def test_pictures_one_after_the_other_and_failures_survived(make: Make, tried: list[str]) -> None:
    engine = make("bad", "good")
    assert work(engine) == ["failed", "localized"] * 2 and tried == ["x/bad", "x/good", "y/bad", "y/good"]
    assert [(row["cell"], row["picture"]) for row in engine.ordered()] == [
        ("bad", "x"), ("bad", "y"), ("good", "x"), ("good", "y"),
    ]  # fmt: skip
    assert engine.ordered()[0]["error"] == "no luck in bad" and engine.ordered()[0]["folder"] == "runs/x/bad"


def test_what_is_finished_or_empty_stays_and_faults_are_tried_again(make: Make, tried: list[str]) -> None:
    first = make("bad", "empty", "good")
    work(first)
    tried.clear()
    again = make("bad", "empty", "good", results=dict(first.results))
    assert work(again) == ["failed", "failed", "localized"] * 2 and tried == ["x/bad", "y/bad"]
    del again.results["good", "x"]  # killed before it was written down
    tried.clear()
    ended = again.do("good", again.subjects[0])
    assert ended.earlier and ended.result["stages"] == [{"stage": "extractor", "seconds": 1.0}] and not tried


def test_what_follows_a_run_may_fail_and_is_tried_again(make: Make, tried: list[str]) -> None:
    drawn: list[str] = []

    def after(run: Run) -> None:
        drawn.append(run.path.name)
        if len(drawn) == 1:
            raise SystemExit(4)

    engine = make("good", after=after)
    ended = engine.do("good", engine.subjects[0])
    assert ended.result["error"].startswith("SystemExit: 4; traceback in ") and ended.result["status"] == "failed"
    assert engine.do("good", engine.subjects[0]).result["status"] == "localized"
    assert tried == ["x/good"] and drawn == ["good", "good"]


def test_a_micro_batch_that_was_asked_for_stays() -> None:
    options = Options(set=["run.micro_batch=3"])
    config = options.resolve(options.manager())
    assert with_micro_batch(config, 9).run.micro_batch == 3
    assert with_micro_batch(Options().resolve(options.manager()), 9).run.micro_batch == 9
