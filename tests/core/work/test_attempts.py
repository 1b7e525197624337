"""One picture among many: whatever goes wrong with it is a result with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_options import PICTURE, toy_options

from uce.core.errors import RunFolderError
from uce.core.runs.folder import RunFolder
from uce.core.work.attempts import Attempt, attempt, reason
from uce.core.work.opening import begin
from uce.core.work.pipeline import Work

STEPS = {"optimizer.steps": 1, "optimizer.attention_weight": 0, "run.samples": 0, "run.device": "cpu"}


def opening(out: Path | None, **settings: Any) -> Callable[[], Work]:
    options = toy_options(set=STEPS | settings)
    return lambda: begin(PICTURE, options, out, resume=False, overwrite=False)


def test_all_five_stages_or_three(tmp_path: Path) -> None:
    whole = attempt(opening(tmp_path / "a"), tmp_path / "a", localize_only=False)
    assert (whole.status, whole.error, whole.empty) == ("done", None, False) and whole.work is not None
    assert set(whole.work.seconds) >= {"extractor", "clusterer", "optimizer"}
    assert whole.seconds == sum(whole.work.seconds.values()) > 0
    part = attempt(opening(tmp_path / "b"), tmp_path / "b", localize_only=True)
    assert part.status == "localized" and part.work is not None and "optimizer" not in part.work.seconds
    states = [RunFolder(tmp_path / name).read_run()["status"] for name in "ab"]
    assert states == ["done", "localized"] and not (tmp_path / "b" / "embeddings.safetensors").exists()


def test_a_picture_without_concepts_is_empty_and_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = attempt(opening(out, **{"clusterer.fault": "nothing"}), out, localize_only=True)
    assert found.status == "failed" and found.empty and not out.exists()
    assert str(found.error).startswith("the clusterer left every cell unassigned; give it smaller clusters")


def test_what_cannot_be_opened_has_no_work(tmp_path: Path) -> None:
    (tmp_path / "foreign.txt").touch()
    found = attempt(opening(tmp_path), tmp_path, localize_only=True)
    assert found.work is None and found.seconds == 0 and not found.empty
    assert "holds 'foreign.txt', which is not a run's" in str(found.error)
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.txt"], "no traceback of what has a sentence"


def test_a_strangers_fault_is_told_with_its_traceback(tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = attempt(opening(out, **{"clusterer.fault": "raise"}), out, localize_only=True)
    assert found.status == "failed" and not found.empty and found.work is not None
    assert "raised ZeroDivisionError: a <b>mess</b>; traceback in" in str(found.error)


@pytest.mark.parametrize("fault", [ValueError("what\n a  mess"), SystemExit("what a mess")])
def test_a_fault_of_our_own_is_one_line_too(tmp_path: Path, fault: BaseException) -> None:
    def failing() -> Work:
        raise fault

    found = attempt(failing, tmp_path, localize_only=True)
    path = tmp_path / "error.txt"
    assert found == Attempt("failed", f"{type(fault).__name__}: what a mess; traceback in {path}", False, None)
    assert "in failing" in path.read_text()


def test_an_interruption_ends_the_whole(tmp_path: Path) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted, tmp_path, localize_only=True)
    with pytest.raises(KeyboardInterrupt):
        reason(interrupted, tmp_path)


def test_a_reason_is_a_sentence_or_none(tmp_path: Path) -> None:
    def refused() -> None:
        raise RunFolderError("no room; make some")

    assert reason(lambda: None, tmp_path) is None and reason(refused, tmp_path) == "no room; make some"
    assert list(tmp_path.iterdir()) == []
    text = reason(lambda: [][0], tmp_path)
    assert text == f"IndexError: list index out of range; traceback in {tmp_path / 'error.txt'}"
    long = reason(lambda: {}["k" * 400], tmp_path)
    assert long is not None and "k" * 199 in long and "k" * 200 not in long
