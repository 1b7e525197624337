"""The folder of many runs: who may use it, its document, a JSON file that is kept true, and how it is cleared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from uce.core.errors import RunFolderError
from uce.core.files.documents import parse_json
from uce.core.files.writing import no_links, write_json
from uce.core.runs.folder import RunFolder, names_in


@dataclass(frozen=True)
class ResultFolder:
    """Paths of one command's results. A subclass says whose they are.

    Attributes:
        path: the folder.
        COMMAND: which command writes it. NOUN: what it holds, with its article. DOCUMENT: its JSON file.
        FILES: names of what the command writes beside it. OWNED: patterns of files in
            further folders.
        RUNS: where below runs/ the run folders lie.
        FORMAT: the newest format of the document.
    """

    path: Path

    COMMAND: ClassVar[str]
    NOUN: ClassVar[str]
    DOCUMENT: ClassVar[str]
    FILES: ClassVar[tuple[str, ...]]
    OWNED: ClassVar[tuple[str, ...]] = ()
    RUNS: ClassVar[str] = "*"
    FORMAT: ClassVar[int] = 1

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def run(self, *names: str) -> RunFolder:
        """One of the run folders."""
        return RunFolder(self.path.joinpath("runs", *names))

    @property
    def begun(self) -> bool:
        """The command worked here before."""
        return (self.path / self.DOCUMENT).is_file()

    def open(self, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
        """The document of what is to be continued; None where it begins anew. Nothing is changed.

        Raises:
            RunFolderError: the folder may not be used, or both are asked for.
        """
        if resume and overwrite:
            raise RunFolderError("--resume and --overwrite exclude each other; give one of them")
        if resume and self.begun:
            return self.read()
        self.check(overwrite=overwrite or resume)
        return None

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder that may not be used; nothing is changed.

        Args:
            overwrite: what the same command left may be continued or replaced.

        Raises:
            RunFolderError: occupied, not a folder, or not readable.
        """
        found = names_in(self.path)
        noun = self.NOUN.partition(" ")[2]
        if self.begun and not overwrite:
            raise RunFolderError(
                f"{self.path} holds another {noun}; continue it with --resume, replace it with --overwrite, or give "
                "another folder with -o"
            )
        foreign = [name for name in found if not self._is_ours(name)]
        if foreign:
            raise RunFolderError(
                f"{self.path} is not empty and holds {foreign[0]!r}, which is not {self.NOUN}'s; give a new or empty "
                "folder with -o"
            )

    def _is_ours(self, name: str) -> bool:
        ours = (self.DOCUMENT, *self.FILES, *self._folders)
        return (self.begun and name in ours) or (name[0] == "." and name.endswith(".part"))

    @property
    def _folders(self) -> list[str]:
        return ["runs", *dict.fromkeys(pattern.partition("/")[0] for pattern in self.OWNED)]

    def read(self) -> dict[str, Any]:
        """The document.

        Raises:
            RunFolderError: missing, not readable, or of a newer format.
        """
        path, noun = self.path / self.DOCUMENT, self.NOUN.partition(" ")[2]
        try:
            document = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            command = f"make one with uce {self.COMMAND}"
            raise RunFolderError(f"{path} is missing; {self.path} is no {noun}: {command}") from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path} is not readable ({error}); begin anew with --overwrite") from error
        if not isinstance(document, dict) or not isinstance(document.get("format"), int):
            raise RunFolderError(f"{path} is not {self.NOUN}'s; give a folder that uce {self.COMMAND} wrote")
        if document["format"] > self.FORMAT:
            raise RunFolderError(
                f"{self.path} has format {document['format']}, this uce reads up to {self.FORMAT}; install a newer uce"
            )
        return document

    def write(self, document: Mapping[str, Any]) -> None:
        write_json(self.path / self.DOCUMENT, document)

    def sweep(self) -> None:
        """Remove what a command that was killed while it wrote a file left beside it."""
        for pattern in (".*.part", *(pattern for pattern in self.OWNED if pattern.endswith(".part"))):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what the command wrote, and nothing else."""
        for path in [path for pattern in self.OWNED for path in no_links(self.path, pattern)]:
            path.unlink()
        for path in no_links(self.path, f"runs/{self.RUNS}"):
            RunFolder(path).clear()
            remove_empty(path)
            remove_empty(path.parent)
        for name in self._folders:
            remove_empty(self.path / name)
        # the document last: without it, what a kill in between left would count as somebody else's
        self.sweep()
        for name in (*self.FILES, self.DOCUMENT):
            (self.path / name).unlink(missing_ok=True)


def remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing any more."""
    with contextlib.suppress(OSError):  # not there, or not empty
        folder.rmdir()
