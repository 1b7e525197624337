"""What is written down about a run: versions, time, command."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

_LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "numpy",
    "scikit-learn",
    "scikit-image",
    "scipy",
    "hdbscan",
    "POT",
)


def versions() -> dict[str, str]:
    """Versions of uce, Python and the libraries that a result depends on."""
    from uce.version import __version__

    found = {"uce": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """The command as typed, for run.json."""
    return " ".join(["uce", *sys.argv[1:]]) if Path(sys.argv[0]).name == "uce" else "python"
