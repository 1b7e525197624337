"""One uce at a time in a folder: the second is told so, instead of mixing its files with the first one's."""

from __future__ import annotations

import functools
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from uce.core.errors import RunFolderError

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path | None) -> Iterator[None]:
    """Work in `folder` while no other uce of this machine does; None is everybody's.

    The lock lies among the temporary files, so that nothing of it is left in the folder, and a folder that is refused
    stays untouched. It goes with its process, however that ends.

    Raises:
        RunFolderError: another process or thread works there.
    """
    lock = None if folder is None else _lock(folder)
    if lock is None:
        yield
        return
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(
            f"{folder} is being written by another uce right now; wait until that ends, or give another folder with -o"
        ) from error
    except OSError as error:  # a place for temporary files that takes none
        log.warning("%s is not locked against a second uce: %s", folder, error.strerror or error)
        yield
        return
    try:
        yield
    finally:
        lock.release()


def writes_out(function: Callable[P, T]) -> Callable[P, T]:
    """Call a function whose first argument is `out` while no other uce works in that folder."""

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        out: Any = kwargs["out"] if "out" in kwargs else args[0]
        with alone_in(Path(out)):
            return function(*args, **kwargs)

    return alone


def _lock(folder: Path) -> FileLock | None:
    try:
        place = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return FileLock(Path(tempfile.gettempdir()) / f"uce-{place}.lock")
    except (OSError, ValueError, RuntimeError):  # what no folder can be called: refused by whoever opens it
        return None
