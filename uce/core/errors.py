"""What can go wrong, as sentences for the person who can mend it.

The command line prints a `UceError` in one line and exits with 2; anything else is a fault of ours and keeps its
traceback.
"""

from __future__ import annotations

import difflib
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
