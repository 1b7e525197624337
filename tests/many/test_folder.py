"""The folder of many runs: what is its own, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from uce.core.errors import RunFolderError
from uce.many.folder import ResultFolder


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
