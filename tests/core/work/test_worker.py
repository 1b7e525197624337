"""A worker of a batch: does what is left to do, and nothing for a batch that is no longer its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from toy_options import PICTURE, TOY, toy_options

from uce.core.config.options import Options
from uce.core.errors import PluginError, RunFolderError
from uce.core.flow.jobs import Assignment, Job
from uce.core.runs.folder import RunFolder
from uce.core.work.worker import Worker, begun_alike, finished_status
from uce.testing import tiny_picture


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    (tmp_path / "work").mkdir()
    owner = {"token": "t", "pid": 7, "host": "here"}
    (tmp_path / "work" / "owner.json").write_text(json.dumps(owner))
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    options = toy_options(set={"run.micro_batch": 2})
    config = options.resolve(options.manager()).to_dict()
    return Assignment(str(tmp_path), "t", config, localize_only=True, plugin=[TOY])


def locks(folder: Path) -> list[Path]:
    return list((folder / "work").glob("worker-*.lock"))


def changed(assignment: Assignment, **fields: Any) -> Assignment:
    return Assignment(**(vars(assignment) | fields))


def test_a_job_is_done_once(assignment: Assignment, tmp_path: Path) -> None:
    job = Job("a", str(tmp_path / "a.png"), {"seed": 5})
    with Worker(Assignment.from_text(assignment.to_text())) as worker:
        assert len(locks(tmp_path)) == 1
        first = worker.do(Job.from_text(job.to_text()))
        assert (first.name, first.status, first.error, first.seconds > 0) == ("a", "localized", None, True)
        info = RunFolder(tmp_path / "runs" / "a").read_run()
        assert info["input"]["name"] == "a.png" and info["seed"] == 5
        again = worker.do(job)
        assert again.status == "localized" and again.seconds == 0
    assert locks(tmp_path) == []


def test_what_is_wrong_with_a_picture_is_in_its_outcome(assignment: Assignment, tmp_path: Path) -> None:
    with Worker(assignment) as worker:
        gone = worker.do(Job("gone", str(tmp_path / "gone.png")))
        assert gone.status == "failed" and not gone.empty and "gone.png" in str(gone.error)
        wrong = worker.do(Job("wrong", str(tmp_path / "a.png"), {"clusterer": "no-such"}))
        assert wrong.status == "failed" and "unknown clusterer 'no-such'" in str(wrong.error)
        empty = worker.do(Job("empty", str(tmp_path / "a.png"), {"set": {"clusterer.fault": "nothing"}}))
        assert empty.status == "failed" and empty.empty
        assert worker.do(Job("a", str(tmp_path / "a.png"))).status == "localized", "the others go on"


def test_a_batch_that_another_took_over(assignment: Assignment, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="was taken over by process 7 on here"):
        Worker(changed(assignment, token="earlier"))
    (tmp_path / "work" / "owner.json").write_text("{")
    with pytest.raises(RunFolderError, match="is not worked on, as seen from here; every worker must see that folder"):
        Worker(assignment)
    assert locks(tmp_path) == [], "who is refused lets go"


def test_a_plugin_that_is_not_here_is_refused_at_the_start(assignment: Assignment, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"--plugin gone\.py: no such file"):
        Worker(changed(assignment, plugin=["gone.py"]))
    assert locks(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "localize_only", "wanted"),
    [("done", False, "done"), ("localized", False, None), ("localized", True, "localized"), ("done", True, "done"),
     ("failed", True, None), ("running", False, None), (None, True, None)],
)  # fmt: skip
def test_what_needs_no_more_work(tmp_path: Path, status: str | None, localize_only: bool, wanted: str | None) -> None:
    folder = RunFolder(tmp_path)
    assert finished_status(folder, localize_only) is None
    folder.update_run(**({"status": status} if status else {"mode": "run"}))
    assert finished_status(folder, localize_only) == wanted
    (tmp_path / "run.json").write_text("{")
    assert finished_status(folder, localize_only) is None, "damaged: done again"


def test_a_run_is_continued_where_picture_and_settings_are_the_same(assignment: Assignment, tmp_path: Path) -> None:
    folder, digest = RunFolder(tmp_path / "runs" / "a"), tiny_picture().digest
    assert not begun_alike(folder, {}, digest)
    with Worker(assignment) as worker:
        worker.do(Job("a", str(tmp_path / "a.png")))
        config = Options().resolve(worker.manager, base=assignment.config).to_dict()
    assert begun_alike(folder, config, digest) and not begun_alike(folder, config, "another")
    other = {**config, "run": {**config["run"], "seed": 9}}
    assert not begun_alike(folder, other, digest)
    (folder.path / "config.yaml").write_text(": [")
    assert not begun_alike(folder, config, digest)
