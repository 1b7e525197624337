"""The folder of many runs: who may use it, and a document that is kept true."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from uce.core.errors import RunFolderError
from uce.core.files.result_folder import ResultFolder, remove_empty


class Many(ResultFolder):
    COMMAND: ClassVar[str] = "many"
    NOUN: ClassVar[str] = "a collection"
    DOCUMENT: ClassVar[str] = "many.json"
    OURS: ClassVar[tuple[str, ...]] = ("many.json", "runs")


@pytest.fixture
def folder(tmp_path: Path) -> Many:
    return Many(tmp_path / "out")


def test_new_and_empty_folders_may_be_used(folder: Many) -> None:
    folder.check(overwrite=False)
    folder.path.mkdir()
    (folder / ".many.json.x.part").touch()  # what a killed process leaves
    folder.check(overwrite=False)
    assert not folder.begun


def test_what_was_begun_needs_a_flag(folder: Many) -> None:
    folder.write({"format": 1, "name": "é"})
    (folder / "runs").mkdir()
    assert folder.begun and folder.read() == {"format": 1, "name": "é"}
    with pytest.raises(RunFolderError, match="holds another collection; continue it with --resume, replace it with"):
        folder.check(overwrite=False)
    folder.check(overwrite=True)


@pytest.mark.parametrize("begun", [False, True])
def test_nobody_elses_file_is_touched(folder: Many, begun: bool) -> None:
    folder.path.mkdir()
    if begun:
        folder.write({"format": 1})
    (folder / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match=r"holds 'thesis\.tex', which is not a collection's"):
        folder.check(overwrite=True)


def test_a_file_is_no_folder(folder: Many) -> None:
    folder.path.touch()
    with pytest.raises(RunFolderError, match="is a file; give a folder with -o"):
        folder.check(overwrite=False)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "is missing; .* is no collection: make one with uce many"),
        ("{", "is not readable .*begin anew with --overwrite"),
        ("[]", "is not a collection's; give a folder that uce many wrote"),
        ('{"format": 2}', "has format 2, this uce reads up to 1; install a newer uce"),
    ],
)
def test_a_document_that_cannot_be_read_is_said(folder: Many, content: str | None, text: str) -> None:
    folder.path.mkdir()
    if content is not None:
        (folder / "many.json").write_text(content)
    with pytest.raises(RunFolderError, match=text):
        folder.read()


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("full", "empty", "missing"):
        remove_empty(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
