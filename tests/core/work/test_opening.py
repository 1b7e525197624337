"""How a piece of work begins and how its end is told on disk, whatever ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_options import PICTURE, toy_options

from uce.core.errors import ConfigError, OutOfMemoryError, PluginError, RunFolderError, UceError
from uce.core.runs.folder import RunFolder
from uce.core.work.opening import begin, recorded, stage_rows
from uce.core.work.pipeline import Work
from uce.testing import tiny_picture


def start(
    out: Path | None, picture: Any = PICTURE, resume: bool = False, overwrite: bool = False, **given: Any
) -> Work:
    return begin(picture, toy_options(**given), out, resume=resume, overwrite=overwrite)


def test_a_run_says_at_once_what_it_is(tmp_path: Path) -> None:
    info = RunFolder(start(tmp_path / "out", seed=3).folder.path).read_run()  # type: ignore[union-attr]
    assert (info["status"], info["mode"], info["seed"], info["model"]["name"]) == ("running", "run", 3, "tiny")
    assert info["input"] == {"name": "ndarray", "digest": tiny_picture().digest, "width": 48, "height": 40}
    assert {row["plugin"] for row in info["plugins"]} >= {"toy", "none"} and info["stages"] == []


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"resume": True, "overwrite": True}, RunFolderError, "--resume and --overwrite exclude each other"),
        ({}, RunFolderError, "holds another run; continue it with --resume, replace it with --overwrite"),
        ({"resume": True, "seed": 1}, ConfigError, r"was begun with run\.seed=0, now 1; leave the setting out"),
        ({"resume": True, "picture": PICTURE[::-1].copy()}, RunFolderError, "was begun with another picture"),
    ],
)
def test_a_folder_that_holds_a_run(tmp_path: Path, given: Any, error: type[Exception], text: str) -> None:
    start(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(error, match=text):
        start(tmp_path, **given)
    assert (tmp_path / "run.json").read_bytes() == before


def test_what_can_be_continued_is_and_the_rest_begins_anew(tmp_path: Path) -> None:
    start(tmp_path, seed=4)
    RunFolder(tmp_path).update_run(note="mine")
    (tmp_path / "error.txt").write_text("old")
    assert start(tmp_path, resume=True).config.run.seed == 4, "the stored configuration holds"
    assert RunFolder(tmp_path).read_run()["note"] == "mine" and not (tmp_path / "error.txt").exists()
    (tmp_path / "config.yaml").unlink()
    start(tmp_path, resume=True)
    assert "note" not in RunFolder(tmp_path).read_run(), "killed before anything was begun"
    RunFolder(tmp_path).update_run(mode="learn", status="failed")
    with pytest.raises(RunFolderError, match=r"was last worked on by uce learn; continue with uce learn .* --resume"):
        start(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("fault", "raised", "text", "status"),
    [
        (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop", "interrupted"),
        (ValueError("a mess"), ValueError, "a mess", "failed"),
        (SystemExit(3), PluginError, r"a plugin ended the run with sys\.exit\(3\); take", "failed"),
        (MemoryError("x"), OutOfMemoryError, "memory ran out; ", "failed"),
    ],
)
def test_an_end_is_recorded_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, raised: Any, text: str, status: str
) -> None:
    heard: list[Any] = []
    work = start(tmp_path)
    monkeypatch.setattr(work.manager, "emit", heard.append)
    with pytest.raises(raised, match=text), recorded(work, "done"):
        raise fault
    assert RunFolder(tmp_path).read_run()["status"] == status
    assert [(event.status, event.folder) for event in heard] == [(status, tmp_path)]


def test_a_run_that_found_nothing_leaves_no_folder_and_a_good_one_its_status(tmp_path: Path) -> None:
    with pytest.raises(UceError, match="nothing there"), recorded(start(tmp_path / "a"), "done"):
        raise UceError("nothing there")
    assert not (tmp_path / "a").exists()
    work = start(tmp_path / "b")
    with recorded(work, "localized"):
        work.seconds |= {"clusterer": 0.12345, "extractor": 2.0, "refiner-none": 0.0}
        work.reused["foreground"] = 1.0
    info = RunFolder(tmp_path / "b").read_run()
    assert info["status"] == "localized" and info["finished"] is not None
    assert [(row["stage"], row["seconds"]) for row in info["stages"]] == [
        ("extractor", 2.0), ("foreground", 1.0), ("clusterer", 0.123),
    ]  # fmt: skip
    assert info["stages"][1]["reused"] is True and stage_rows(work) == info["stages"]
