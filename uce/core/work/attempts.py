"""One picture worked on where others wait: whatever is wrong with it becomes a result, never an end of the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uce.core.errors import NothingFoundError, UceError
from uce.core.files.writing import write_traceback
from uce.core.work.learning import learn_concepts
from uce.core.work.localizing import find_concepts
from uce.core.work.opening import recorded
from uce.core.work.pipeline import Work
from uce.core.work.shrinking import shrinking

FINISHED = ("done", "localized")


@dataclass(frozen=True)
class Attempt:
    """How it ended.

    Attributes:
        status: "done", "localized" or "failed".
        error: what went wrong, in one sentence; None where it is finished.
        empty: the method worked and found no concept.
        work: what was worked on, its timings among it; None where that could not even be opened.
    """

    status: str
    error: str | None
    empty: bool
    work: Work | None

    @property
    def seconds(self) -> float:
        """What the stages took that were computed."""
        return sum(self.work.seconds.values()) if self.work else 0.0


def _all_stages(work: Work, localize_only: bool) -> None:
    found = find_concepts(work)
    if not localize_only:
        learn_concepts(work, *found)


def attempt(begin: Callable[[], Work], folder: Path, *, localize_only: bool) -> Attempt:
    """Work on one run, all five stages or three.

    Args:
        begin: opens the work.
        folder: where the traceback of a fault goes.
    """
    status, work = "localized" if localize_only else "done", None
    try:
        work = begin()
        with recorded(work, status):
            shrinking(work, lambda work: _all_stages(work, localize_only))
    except UceError as error:
        return Attempt("failed", str(error), isinstance(error, NothingFoundError), work)
    except (Exception, SystemExit) as error:  # a fault of one must not cost the others' results
        return Attempt("failed", _told(error, folder), False, work)
    return Attempt(status, None, False, work)


def reason(body: Callable[[], None], folder: Path) -> str | None:
    """Why `body` failed, in one sentence, with the traceback of a fault in `folder`; None where it worked."""
    try:
        body()
    except UceError as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return _told(error, folder)
    return None


def _told(error: BaseException, folder: Path) -> str:
    message = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {message}; traceback in {write_traceback(folder)}"
