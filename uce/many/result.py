"""What people hold in their hands: the folder of many runs, read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from uce.core.work.held import Run
from uce.many.folder import ResultFolder

Folder = TypeVar("Folder", bound=ResultFolder)


@dataclass(frozen=True, eq=False)
class Results(Generic[Folder]):
    """A folder of many runs, read. Those that know what is in it say what its rows are."""

    folder: Folder

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def document(self) -> dict[str, Any]:
        """The folder's JSON file."""
        return self.folder.read()

    def _open(self, *names: str) -> Run:
        return Run.read(self.folder.run(*names))
