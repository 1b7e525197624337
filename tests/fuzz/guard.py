"""What every damaged input is held to: a result or one line, soon, and nothing written or run elsewhere."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from uce.core.errors import UceError

PATIENCE = 10
"""Seconds of work that one input may take; six times as long where the machine is busy with others."""

_watching: list[Path] = []
_seen: list[str] = []
_RUNS_CODE = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
    "ctypes.dlopen",
    "shutil.rmtree",
    "code.__new__",
)
_LOCK = re.compile(rf"{re.escape(tempfile.gettempdir())}(/uce-[0-9a-f]{{32}}\.lock)?")
"""What keeps a second uce out of a folder, and where it lies (`uce.core.files.locks`)."""


class HangError(BaseException):
    """An input took longer than `PATIENCE`."""


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's own audit hook: it cannot be taken off again, so it looks only while something is watched."""
    if not _watching:
        return
    if event in _RUNS_CODE:
        if event == "pickle.find_class" and str(arguments[0]).split(".")[0] in (
            "collections",
            "torch",
            "_codecs",
            "numpy",
        ):
            return
        if event == "shutil.rmtree" and _inside(arguments[0]):
            return
        _seen.append(f"{event} {arguments!r:.200}")
    elif event == "open":
        path, mode, flags = (*arguments, None, None)[:3]
        writes = (isinstance(mode, str) and any(c in mode for c in "wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and not _inside(path):
            _seen.append(f"writes {path!r}")
    elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir") and not _inside(arguments[0]):
        if not Path(os.fsdecode(arguments[0])).is_absolute() and arguments[-1] != -1:  # of an open folder: rmtree's
            return
        _seen.append(f"{event} {arguments[0]!r}")


def _inside(path: Any) -> bool:
    if isinstance(path, int) or path is None:
        return True
    real = Path(os.fsdecode(path)).absolute()
    parts = os.path.normpath(real)
    if parts == os.devnull or "__pycache__" in parts or _LOCK.fullmatch(parts):
        return True
    return any(Path(parts).is_relative_to(folder) for folder in _watching)


sys.addaudithook(_audit)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Nothing may be written outside `folder`, no process begun, no code of the input run, no address called."""

    def late(number: int, frame: Any) -> None:
        raise HangError(f"longer than {PATIENCE} s")

    before = {number: signal.signal(number, late) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_REAL, 6 * PATIENCE)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    _watching.append(folder)
    _seen.clear()
    hangs = False
    try:
        yield
    except HangError:  # its traceback ends wherever the signal came, which pytest cannot always print
        hangs = True
    finally:
        _watching.remove(folder)
        for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not hangs, f"longer than {PATIENCE} s"
    assert not _seen, list(_seen)


def ends_well(folder: Path, call: Callable[[], Any]) -> str | None:
    """None where `call` gave a result, else its one line; anything but a `UceError` goes through and fails the test."""
    with watched(folder):
        try:
            call()
        except UceError as error:
            line = " ".join(str(error).split())
            assert 10 < len(line) < 20_000, line[:300]
            return line
    return None
