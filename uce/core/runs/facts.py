"""What is written down about a run: versions, time, command."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uce.core.files.writing import exists

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


HEADER = "uce"
LICENCE = (
    "not stated: whoever passes this token on needs the rights to the source picture, and its use is bound by the "
    "licence of the model"
)


def token_facts(info: Mapping[str, Any], token: str, label: str | None, licence: str | None = None) -> dict[str, Any]:
    """What a token's file says about itself: no folder of this machine, nothing that changes from call to call.

    Args:
        info: run.json. What an imported file said of itself stands in its `sources` and goes on; a token that was
            learned from several pictures names them all, the run's own first.
        label, licence: None leaves them to that.
    """
    source: Mapping[str, Any] = next((row for row in info.get("sources") or [] if row.get("token") == token), {})
    said: Mapping[str, Any] = source.get("facts") or {}
    model = info.get("model") or {}
    name = str(model.get("name", ""))
    local = Path(name).is_absolute() or exists(Path(name))
    pictures = [row["digest"] for row in info.get("pictures") or [] if token in row["concepts"]]
    return {
        "format": 1,
        "uce": str(said.get("uce") or (info.get("versions") or {}).get("uce", "")),
        "token": token,
        "model": Path(name).name if local else name,
        "model_fingerprint": model.get("fingerprint") or said.get("model_fingerprint"),
        "picture": (info.get("input") or {}).get("digest") or said.get("picture"),
        "label": label or said.get("label"),
        "licence": licence or said.get("licence") or LICENCE,
        **({"pictures": pictures} if pictures else {}),
    }


def header(facts: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of a safetensors file."""
    return {HEADER: json.dumps(dict(facts), sort_keys=True, ensure_ascii=False)}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """The command as typed, for run.json."""
    return " ".join(["uce", *sys.argv[1:]]) if Path(sys.argv[0]).name == "uce" else "python"
