"""All that one ablation leaves on disk, and what a later `--resume` must agree with.

DIR/ablation.json   what was asked, every result; kept true after each cell
DIR/ablation.csv, ablation.md, ablation.html
DIR/runs/<picture>/<cell>/   one run folder each
DIR/cache/          stage results that cells share; may be deleted
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uce.core.errors import RunFolderError
from uce.many.folder import ResultFolder

_ASKED = ("vary", "one_at_a_time", "localize_only", "pictures")


class AblationFolder(ResultFolder):
    """Paths of one ablation."""

    COMMAND, NOUN, DOCUMENT = "ablate", "an ablation", "ablation.json"
    FILES = ("ablation.html", "ablation.md", "ablation.csv")
    OWNED = ("cache/*.safetensors", "cache/.*.part")
    RUNS = "*/*"


def require_same_grid(stored: Mapping[str, Any], asked: Mapping[str, Any], path: Path) -> None:
    """A resumed ablation must be the one that was begun.

    Raises:
        RunFolderError: what varies, how, or the pictures differ; the first difference is named.
    """
    for key in _ASKED:
        before, now = stored.get(key), asked[key]
        if before != now:
            raise RunFolderError(
                f"--resume: {path} was begun with {_difference(key, before, now)}; ask for the same, or start anew "
                "with --overwrite"
            )


def _difference(key: str, before: Any, now: Any) -> str:
    if key == "vary":
        return f"--vary {_vary(before)}, now --vary {_vary(now)}"
    if key == "pictures":
        old, new = ([(p["name"], p["digest"]) for p in pictures or []] for pictures in (before, now))
        if [name for name, _ in old] != [name for name, _ in new]:
            return f"the pictures {_names(old)}, now {_names(new)}"
        changed = next(name for (name, digest), (_, other) in zip(old, new, strict=True) if digest != other)
        return f"another picture under the name {changed}"
    flag = "--" + key.replace("_", "-")
    return f"{flag}, now without it" if before else f"no {flag}, now with it"


def _vary(variations: Sequence[Mapping[str, Any]] | None) -> str:
    return " --vary ".join(f"{item['key']}={','.join(item['values'])}" for item in variations or [])


def _names(pictures: Sequence[tuple[str, str]]) -> str:
    return ", ".join(name for name, _ in pictures)
