"""One uce at a time in a folder."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from uce.core.errors import RunFolderError
from uce.core.files.locks import alone_in, writes_out

MESSAGE = "is being written by another uce right now; wait until that ends, or give another folder with -o"


def test_the_second_gets_a_line_and_the_folder_is_untouched(tmp_path: Path) -> None:
    with alone_in(tmp_path / "out"):
        for other in (tmp_path / "out", tmp_path / "x" / ".." / "out"):
            with pytest.raises(RunFolderError, match=MESSAGE), alone_in(other):
                pass
        with alone_in(tmp_path / "another"), alone_in(None), alone_in(None):
            pass
    with alone_in(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_thread_is_a_second_uce(tmp_path: Path) -> None:
    said: list[str] = []

    def enter() -> None:
        try:
            with alone_in(tmp_path):
                said.append("in")
        except RunFolderError as error:
            said.append(str(error))

    with alone_in(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert len(said) == 1 and MESSAGE in said[0]


def test_an_error_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), alone_in(tmp_path):
        raise ValueError("inside")
    with alone_in(tmp_path):
        pass


def test_a_function_that_writes_out(tmp_path: Path) -> None:
    @writes_out
    def write(out: str, value: int = 0) -> int:
        with pytest.raises(RunFolderError, match=MESSAGE), alone_in(Path(out)):
            pass
        return value

    assert write(str(tmp_path), value=3) == 3 and write(out=str(tmp_path)) == 0


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from uce.core.files.locks import alone_in
with alone_in(Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with alone_in(tmp_path):
        pass
