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
from uce.core.files.result_folder import ResultFolder, remove_empty
from uce.core.files.writing import no_links
from uce.core.runs.folder import RunFolder

REPORTS = ("ablation.json", "ablation.csv", "ablation.md", "ablation.html")
_ASKED = ("vary", "one_at_a_time", "localize_only", "pictures")


class AblationFolder(ResultFolder):
    """Paths of one ablation."""

    COMMAND, NOUN, DOCUMENT = "ablate", "an ablation", "ablation.json"
    OURS = (*REPORTS, "runs", "cache")

    def run(self, picture: str, cell: str) -> RunFolder:
        return RunFolder(self.path / "runs" / picture / cell)

    def clear(self) -> None:
        """Remove what an ablation wrote, and nothing else."""
        for folder in no_links(self.path, "runs/*/*"):
            RunFolder(folder).clear()
            remove_empty(folder)
            remove_empty(folder.parent)
        for path in (*no_links(self.path, "cache/*.safetensors"), *no_links(self.path, "cache/.*.part")):
            path.unlink()
        for name in ("runs", "cache"):
            remove_empty(self.path / name)
        # ablation.json last: without it, what a kill in between left would count as somebody else's
        for path in (*self.path.glob(".*.part"), *(self.path / name for name in reversed(REPORTS))):
            path.unlink(missing_ok=True)


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
