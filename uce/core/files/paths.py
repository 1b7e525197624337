"""Paths as people see and type them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path


def shown_path(path: Path) -> str:
    """Relative to where the program is now, if it lies below; else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the program's own folder is gone
        return str(path)


def typed_path(path: Path) -> str:
    """For a command line: quoted where that is needed, and never taken for an option."""
    text = shown_path(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def user_path(path: str | Path) -> Path:
    """With "~" as the user's home; as it is where nobody knows one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises without a home
