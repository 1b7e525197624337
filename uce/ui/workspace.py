"""What one person has on the server: pictures, things, words, drawings. Everybody has a folder of their own, known by
an id that cannot be guessed; it is removed when it has not been used for a while, and when the server stops."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from uce.core.errors import ConfigError
from uce.core.files.pictures import RgbArray
from uce.core.work.held import Run
from uce.ui.menu import Chosen
from uce.ui.names import Word, clean_title, free_stem
from uce.ui.picture_work import Drawing, PictureWork

if TYPE_CHECKING:
    from uce.ui.jobs import Job

MAX_PICTURES = 20
MAX_WORKSPACES = 200
KEEP_SECONDS = 12 * 3600
MAX_MESSAGES = 200
MAX_JOBS = 40
_ID = re.compile(r"[A-Za-z0-9_-]{20,64}")


@dataclass(frozen=True)
class Message:
    """Something that was said to a person: `at` is the server's time of day; `bad` is what could not be done."""

    at: str
    title: str
    text: str
    bad: bool = False


@dataclass(eq=False)
class Workspace:
    """Everything of one person.

    Attributes:
        current: number of the picture that is shown.
        selected: name of the thing that is edited.
        step: of the page, 1 to 4.
        jobs: those that wait or run, and the last ones that did.
        ended: how many are over.
        drawings: the newest first. opened: the one that is shown large.
        next_seed: the first that no drawing had yet.
        messages: what was said, the newest first.
    """

    id: str
    folder: Path
    pictures: list[PictureWork] = field(default_factory=list)
    current: int = 0
    selected: str | None = None
    step: int = 1
    jobs: list[Job] = field(default_factory=list)
    ended: int = 0
    chosen: Chosen = field(default_factory=Chosen)
    drawings: list[Drawing] = field(default_factory=list)
    opened: Drawing | None = None
    next_seed: int = 0
    messages: list[Message] = field(default_factory=list)
    _unseen: list[Message] = field(default_factory=list)
    used: float = field(default_factory=time.monotonic)

    @property
    def picture(self) -> PictureWork | None:
        return self.pictures[self.current] if 0 <= self.current < len(self.pictures) else None

    @property
    def waiting(self) -> list[Job]:
        """Jobs that are not over, the one that runs first."""
        return [job for job in self.jobs if job.active]

    @property
    def job(self) -> Job | None:
        """The one that runs or is next; where all are over, the last one."""
        return next(iter([*self.waiting, *self.jobs[-1:]]), None)

    @property
    def busy(self) -> bool:
        return bool(self.waiting)

    def works_on(self, picture: PictureWork | None) -> Job | None:
        """The job that is about a picture, waiting or running."""
        return next((job for job in self.waiting if picture is not None and job.picture is picture), None)

    def add_job(self, job: Job) -> None:
        """Remember a job that was submitted."""
        self.jobs = [*self.jobs, job][-MAX_JOBS:]

    def say(self, title: str, text: str, *, bad: bool = False, shown: bool = False) -> None:
        """Keep what is said to the person; unless it is `shown` already, the page shows it once, too."""
        message = Message(time.strftime("%H:%M:%S"), title, text, bad)
        self.messages = [message, *self.messages][:MAX_MESSAGES]
        if not shown:
            self._unseen = [*self._unseen, message]

    def unseen(self) -> list[Message]:
        """What the page has not shown yet; it counts as shown from now on."""
        found, self._unseen = self._unseen, []
        return found

    @property
    def taken(self) -> set[str]:
        """Names of things and words anywhere here: a word means one thing in all prompts of a person."""
        names = {thing.name for picture in self.pictures for thing in picture.things}
        return names | {thing.name for picture in self.pictures for thing in picture.learned_things}

    @property
    def words(self) -> list[Word]:
        """All learned words."""
        return [Word(t.name, t.title, p.title) for p in self.pictures if p.run is not None for t in p.learned_things]

    @property
    def runs(self) -> list[Run]:
        """Learned words of all pictures."""
        return [run for run in (picture.run for picture in self.pictures) if run is not None]

    def add_picture(self, pixels: RgbArray, name: str) -> PictureWork:
        """Keep a new picture.

        Raises:
            ConfigError: there are too many.
        """
        from PIL import Image

        from uce.core.files.writing import write_picture

        if len(self.pictures) >= MAX_PICTURES:
            raise ConfigError(f"there are {MAX_PICTURES} pictures already; download your work and begin anew")
        title, taken = _title(Path(name).stem), {picture.name for picture in self.pictures}
        number = len(self.pictures)
        folder = self.folder / f"picture-{number}-{secrets.token_hex(3)}"
        work = PictureWork(free_stem(title, taken), folder, pixels, title=title)
        write_picture(work.file, Image.fromarray(pixels))
        self.pictures.append(work)
        return work

    def look_at(self, picture: PictureWork, step: int) -> None:
        """Show a picture."""
        names = [thing.name for thing in picture.things]
        self.current, self.step = self.pictures.index(picture), step
        self.selected = names[0] if names else None


def _title(stem: str) -> str:
    """What a picture is called: its file's name, where it says anything."""
    try:
        return clean_title(stem)
    except ConfigError:
        return "picture"


class Workspaces:
    """All of them, in a folder that is gone when the server stops."""

    def __init__(self, root: Path, keep_seconds: float = KEEP_SECONDS, begin: Callable[[], Chosen] = Chosen) -> None:
        self.root, self.keep_seconds, self.begin = root, keep_seconds, begin
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
            self._all[key] = Workspace(key, self.root / secrets.token_hex(8), chosen=self.begin())
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
