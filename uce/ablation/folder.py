"""All that one ablation leaves on disk, and what a later `--resume` must agree with.

DIR/ablation.json   what was asked, every result; kept true after each cell
DIR/ablation.csv, ablation.md, ablation.tex, ablation.html
DIR/runs/<picture>/<cell>/   one run folder each
DIR/cache/          stage results that cells share; may be deleted
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uce.ablation.grid import REPEATS
from uce.core.errors import RunFolderError
from uce.many.folder import ResultFolder


class AblationFolder(ResultFolder):
    """Paths of one ablation."""

    COMMAND, NOUN, DOCUMENT = "ablate", "an ablation", "ablation.json"
    FILES = ("ablation.html", "ablation.tex", "ablation.md", "ablation.csv")
    OWNED = ("cache/*.safetensors", "cache/.*.part")
    RUNS = "*/*"


def require_grown(stored: Mapping[str, Any], asked: Mapping[str, Any], path: Path) -> None:
    """A resumed ablation is the one that was begun, or one that holds it: values and pictures may be added.

    Raises:
        RunFolderError: what varies, how, or the pictures differ otherwise; the first difference is named.
    """
    difference = _difference(stored, asked)
    if difference:
        raise RunFolderError(
            f"--resume: {path} was begun with {difference}; ask for the same, with more values or pictures if you "
            "like, or start anew with --overwrite"
        )


def _difference(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    for key in ("one_at_a_time", "localize_only"):
        if stored.get(key) != asked[key]:
            flag = "--" + key.replace("_", "-")
            return f"{flag}, now without it" if stored.get(key) else f"no {flag}, now with it"
    before, now = ({item["key"]: item["values"] for item in side.get("vary") or []} for side in (stored, asked))
    kept = before.keys() <= now.keys() and all(set(before[key]) <= set(now[key]) for key in before)
    added = now.keys() - before.keys()
    if not kept or (added and not asked["one_at_a_time"]) or added & set(REPEATS):
        return f"--vary {_vary(before)}, now --vary {_vary(now)}"
    old, new = ({p["name"]: p["digest"] for p in side.get("pictures") or []} for side in (stored, asked))
    if not old.keys() <= new.keys():
        return f"the pictures {', '.join(old)}, now {', '.join(new)}"
    changed = next((name for name, digest in old.items() if new[name] != digest), None)
    return f"another picture under the name {changed}" if changed else ""


def _vary(values: Mapping[str, Sequence[str]]) -> str:
    return " --vary ".join(f"{key}={','.join(texts)}" for key, texts in values.items())
