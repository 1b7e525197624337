"""The folder of many runs: what is its own, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from uce.core.errors import RunFolderError
from uce.many.folder import ResultFolder, remove_empty


class Folder(ResultFolder):
    COMMAND, NOUN, DOCUMENT = "try", "a trial", "trial.json"
    FILES = ("trial.csv",)
    OWNED = ("cache/*.bin",)
    RUNS = "*/*"


def test_clearing_takes_what_the_command_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    folder.write({"format": 1})
    for name in ("trial.csv", "cache/a.bin", "cache/mine.txt", "runs/x/y/run.json", "runs/x/z/thesis.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    folder.clear()
    left = sorted(path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file())
    assert left == ["cache/mine.txt", "runs/x/z/thesis.txt"] and not (folder / "runs" / "x" / "y").exists()


def test_who_may_use_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.open(resume=True, overwrite=False) is None, "nothing there: it begins"
    (tmp_path / "trial.csv").touch()
    with pytest.raises(RunFolderError, match=r"holds 'trial\.csv', which is not a trial's"):
        folder.open(resume=True, overwrite=False)
    folder.write({"format": 1, "asked": "this"})
    document = folder.open(resume=True, overwrite=False)
    assert document is not None and document["asked"] == "this"
    assert folder.open(resume=False, overwrite=True) is None
    with pytest.raises(RunFolderError, match="holds another trial; continue it with --resume, replace it with"):
        folder.open(resume=False, overwrite=False)
    with pytest.raises(RunFolderError, match="exclude each other"):
        folder.open(resume=True, overwrite=True)
    folder.write({"format": 2})
    with pytest.raises(RunFolderError, match="has format 2, this uce reads up to 1"):
        folder.open(resume=True, overwrite=False)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def test_new_and_empty_folders_may_be_used(folder: Folder) -> None:
    folder.check(overwrite=False)
    folder.path.mkdir()
    (folder / ".trial.json.x.part").touch()  # what a killed process leaves
    folder.check(overwrite=False)
    assert not folder.begun


def test_what_was_begun_needs_a_flag(folder: Folder) -> None:
    folder.write({"format": 1, "name": "é"})
    (folder / "runs").mkdir()
    assert folder.begun and folder.read() == {"format": 1, "name": "é"}
    with pytest.raises(RunFolderError, match="holds another trial; continue it with --resume, replace it with"):
        folder.check(overwrite=False)
    folder.check(overwrite=True)


@pytest.mark.parametrize("begun", [False, True])
def test_nobody_elses_file_is_touched(folder: Folder, begun: bool) -> None:
    folder.path.mkdir()
    if begun:
        folder.write({"format": 1})
    (folder / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match=r"holds 'thesis\.tex', which is not a trial's"):
        folder.check(overwrite=True)


def test_a_file_is_no_folder(folder: Folder) -> None:
    folder.path.touch()
    with pytest.raises(RunFolderError, match="is a file; give a folder with -o"):
        folder.check(overwrite=False)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "is missing; .* is no trial: make one with uce try"),
        ("{", "is not readable .*begin anew with --overwrite"),
        ("[]", "is not a trial's; give a folder that uce try wrote"),
        ('{"format": 2}', "has format 2, this uce reads up to 1; install a newer uce"),
    ],
)
def test_a_document_that_cannot_be_read_is_said(folder: Folder, content: str | None, text: str) -> None:
    folder.path.mkdir()
    if content is not None:
        (folder / "trial.json").write_text(content)
    with pytest.raises(RunFolderError, match=text):
        folder.read()


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("full", "empty", "missing"):
        remove_empty(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
