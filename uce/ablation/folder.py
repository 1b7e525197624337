"""All that one ablation leaves on disk, and what a later `--resume` must agree with.

DIR/ablation.json   what was asked, every result; kept true after each cell
DIR/ablation.csv, ablation.md, ablation.html
DIR/runs/<picture>/<cell>/   one run folder each
DIR/cache/          stage results that cells share; may be deleted
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.core.errors import RunFolderError
from uce.core.files import write_json
from uce.core.run_folder import RunFolder

FORMAT = 1
REPORTS = ("ablation.json", "ablation.csv", "ablation.md", "ablation.html")
_OURS = (*REPORTS, "runs", "cache")
_ASKED = ("vary", "one_at_a_time", "localize_only", "pictures")


@dataclass(frozen=True)
class AblationFolder:
    """Paths of one ablation."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def is_ablation(self) -> bool:
        return (self.path / "ablation.json").is_file()

    def run(self, picture: str, cell: str) -> RunFolder:
        return RunFolder(self.path / "runs" / picture / cell)

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder that a new ablation may not use; nothing is changed.

        Raises:
            RunFolderError: occupied, not a folder, or not readable.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise RunFolderError(f"{self.path} is a file; give a folder with -o")
            found = sorted(p.name for p in self.path.iterdir()) if self.path.exists() else []
        except OSError as error:
            raise RunFolderError(
                f"cannot use the folder {self.path}: {error.strerror or error}; give another folder with -o"
            ) from error
        if self.is_ablation and not overwrite:
            raise RunFolderError(
                f"{self.path} holds another ablation; continue it with --resume, replace it with --overwrite, or give "
                "another folder with -o"
            )
        ours = _OURS if self.is_ablation else ()
        foreign = [name for name in found if name not in ours and not (name[0] == "." and name.endswith(".part"))]
        if foreign:
            raise RunFolderError(
                f"{self.path} is not empty and holds {foreign[0]!r}, which is not an ablation's; give a new or empty "
                "folder with -o"
            )

    def clear(self) -> None:
        """Remove what an ablation wrote, and nothing else."""
        for folder in sorted((self.path / "runs").glob("*/*")):
            RunFolder(folder).clear()
            _remove_empty(folder)
            _remove_empty(folder.parent)
        for path in (*(self.path / "cache").glob("*.safetensors"), *(self.path / "cache").glob(".*.part")):
            path.unlink()
        for name in ("runs", "cache"):
            _remove_empty(self.path / name)
        for path in (*(self.path / name for name in REPORTS), *self.path.glob(".*.part")):
            path.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """ablation.json.

        Raises:
            RunFolderError: missing, not readable, or of a newer format.
        """
        path = self.path / "ablation.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError(f"{path} is missing; {self.path} is no ablation: make one with uce ablate") from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path} is not readable ({error}); begin anew with --overwrite") from error
        if not isinstance(document, dict) or not isinstance(document.get("format"), int):
            raise RunFolderError(f"{path} is not an ablation's; give a folder that uce ablate wrote")
        if document["format"] > FORMAT:
            raise RunFolderError(
                f"{self.path} has format {document['format']}, this uce reads up to {FORMAT}; install a newer uce"
            )
        return document

    def write(self, document: Mapping[str, Any]) -> None:
        write_json(self.path / "ablation.json", document)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not there, or not empty
        folder.rmdir()


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
