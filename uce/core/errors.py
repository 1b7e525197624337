"""What can go wrong, as sentences for the person who can mend it.

The command line prints a `UceError` in one line and exits with 2; anything else is a fault of ours and keeps its
traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UceError(Exception):
    """The user's input, configuration or a selected plugin is at fault; the text says what, found, allowed, next."""


class ConfigError(UceError):
    """A setting, key, flag or name is not what it may be."""


class PluginError(UceError):
    """A plugin could not be loaded, is unknown, clashes with another, or raised while it worked."""


class StageInputError(UceError):
    """A stage was given data that it cannot work on."""


class NothingFoundError(StageInputError):
    """Localisation worked, and no concept was left."""


class DivergedError(StageInputError):
    """A training's loss, or what it learns, is no longer a number."""


class OutOfMemoryError(UceError):
    """There is not enough memory for what was asked."""


class ModelError(UceError):
    """A model could not be found, read or used."""


class ImageError(UceError):
    """A picture could not be read or used."""


class RunFolderError(UceError):
    """A run folder is missing, occupied, unreadable or unwritable."""


class TokenFileError(UceError):
    """A file of tokens could not be read or used."""


class UceWarning(UserWarning):
    """Something the user should know that does not stop the work."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence for an unknown name: what was found, what is allowed, the nearest match.

    Args:
        kind: what the name stands for, such as "clusterer".
        name: the name as the user gave it.
        known: every allowed name.
    """
    names, name = sorted(known), name if len(name) <= 100 else f"{name[:100]}..."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}; available: {', '.join(names) or 'none'}.{hint}"


_PHRASES = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc", "failed to map segment",
            "can't start new thread", "unable to allocate")  # fmt: skip


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what caused it, says that there is no memory: Python, numpy, torch, CUDA, the loader."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, (RuntimeError, OSError, ImportError)) and any(p in str(error).lower() for p in _PHRASES):
            return True
        error = error.__cause__ or error.__context__
    return False


def not_damaged(error: BaseException, what: str, advice: str = "make it smaller, or close other programs") -> None:
    """For those who call a file damaged, whatever its parser raised: not where there was no memory to read it.

    Raises:
        OutOfMemoryError: `error` says so.
    """
    if is_out_of_memory(error):
        raise OutOfMemoryError(f"memory ran out while {what} was read; {advice}") from error
