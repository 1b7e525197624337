"""What one person has on the server: pictures, things, words, drawings. Everybody has a folder of their own, known by
an id that cannot be guessed; it is removed when it has not been used for a while, and when the server stops."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from uce.core.errors import ConfigError
from uce.core.files.pictures import RgbArray
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.ui.menu import Chosen
from uce.ui.things import Things

if TYPE_CHECKING:
    from uce.ui.jobs import Job

MAX_PICTURES = 20
MAX_WORKSPACES = 200
KEEP_SECONDS = 12 * 3600
MAX_UNDO = 30
_ID = re.compile(r"[A-Za-z0-9_-]{20,64}")


@dataclass(eq=False)
class PictureWork:
    """One picture and what became of it.

    Attributes:
        name: the file's, made safe.
        folder: found/ and learned/ in it are run folders.
        pixels: uint8 (H, W, 3).
        things: as they are now. earlier: what undo goes back to. learned_things: those that words were learned for.
    """

    name: str
    folder: Path
    pixels: RgbArray
    things: Things = ()
    earlier: list[Things] = field(default_factory=list)
    learned_things: Things = ()

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.png"

    @property
    def found(self) -> Path:
        return self.folder / "found"

    @property
    def is_found(self) -> bool:
        return (self.found / "run.json").is_file()

    @property
    def run(self) -> Run | None:
        """The learned words, where there are any."""
        folder = RunFolder(self.folder / "learned")
        return Run(folder) if folder.is_run else None

    @property
    def changed(self) -> bool:
        """Words were learned, and the things that are ticked are others now."""
        wanted = [(t.index, t.name) for t in self.things if t.wanted]
        return self.run is not None and wanted != [(t.index, t.name) for t in self.learned_things]

    def edit(self, things: Things) -> None:
        """Take an edited state; the last one can be had back."""
        self.earlier = [*self.earlier, self.things][-MAX_UNDO:]
        self.things = things

    def undo(self) -> None:
        """The state before.

        Raises:
            ConfigError: there is none.
        """
        if not self.earlier:
            raise ConfigError("there is nothing to undo")
        self.things = self.earlier.pop()


@dataclass(eq=False)
class Workspace:
    """Everything of one person.

    Attributes:
        current: number of the picture that is shown.
        selected: name of the thing that is edited.
        step: of the page, 1 to 4.
        drawings: (file, prompt), the newest first.
    """

    id: str
    folder: Path
    pictures: list[PictureWork] = field(default_factory=list)
    current: int = 0
    selected: str | None = None
    step: int = 1
    job: Job | None = None
    chosen: Chosen = field(default_factory=Chosen)
    drawings: list[tuple[Path, str]] = field(default_factory=list)
    used: float = field(default_factory=time.monotonic)

    @property
    def picture(self) -> PictureWork | None:
        return self.pictures[self.current] if 0 <= self.current < len(self.pictures) else None

    @property
    def busy(self) -> bool:
        return self.job is not None and self.job.active

    @property
    def taken(self) -> set[str]:
        """Names of things and words anywhere here: a word means one thing in all prompts of a person."""
        names = {thing.name for picture in self.pictures for thing in picture.things}
        return names | {thing.name for picture in self.pictures for thing in picture.learned_things}

    @property
    def runs(self) -> list[Run]:
        """Learned words of all pictures."""
        return [run for run in (picture.run for picture in self.pictures) if run is not None]

    def add_picture(self, pixels: RgbArray, name: str) -> PictureWork:
        """Keep a new picture and show it.

        Raises:
            ConfigError: there are too many.
        """
        from PIL import Image

        from uce.core.files.writing import write_picture

        if len(self.pictures) >= MAX_PICTURES:
            raise ConfigError(f"there are {MAX_PICTURES} pictures already; download your work and begin anew")
        stem = re.sub(r"[^a-z0-9]+", "-", Path(name).stem.lower()).strip("-")[:30] or "picture"
        stems = {picture.name for picture in self.pictures}
        stem = next(s for s in (stem, *(f"{stem}-{n}" for n in range(2, 99))) if s not in stems)
        work = PictureWork(stem, self.folder / f"picture-{len(self.pictures)}-{secrets.token_hex(3)}", pixels)
        write_picture(work.file, Image.fromarray(pixels))
        self.pictures.append(work)
        self.current, self.selected = len(self.pictures) - 1, None
        return work


class Workspaces:
    """All of them, in a folder that is gone when the server stops."""

    def __init__(self, root: Path, keep_seconds: float = KEEP_SECONDS) -> None:
        self.root, self.keep_seconds = root, keep_seconds
        self._all: dict[str, Workspace] = {}
        self._lock = threading.Lock()

    def get(self, key: object) -> Workspace | None:
        """The workspace of an id, as a browser gives it; None where there is none (any more)."""
        if not isinstance(key, str) or not _ID.fullmatch(key):
            return None
        with self._lock:
            found = self._all.get(key)
            if found is not None:
                found.used = time.monotonic()
            return found

    def new(self) -> Workspace:
        """One for somebody who has none. A folder is made when something is put in it."""
        self.sweep()
        key = secrets.token_urlsafe(24)
        with self._lock:
            if len(self._all) >= MAX_WORKSPACES:
                idle = [w for w in self._all.values() if not w.busy]
                if not idle:
                    raise ConfigError("too many people are here just now; try again in a few minutes")
                self._drop(min(idle, key=lambda workspace: (bool(workspace.pictures), workspace.used)))
            self._all[key] = Workspace(key, self.root / secrets.token_hex(8))
            return self._all[key]

    def forget(self, workspace: Workspace) -> None:
        """Remove everything of a person now."""
        with self._lock:
            self._drop(workspace)

    def sweep(self) -> None:
        """Remove what nobody has used for a while."""
        now = time.monotonic()
        with self._lock:
            for workspace in [w for w in self._all.values() if now - w.used > self.keep_seconds and not w.busy]:
                self._drop(workspace)

    def _drop(self, workspace: Workspace) -> None:
        self._all.pop(workspace.id, None)
        shutil.rmtree(workspace.folder, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._all)
