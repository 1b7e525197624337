"""One picture of a person, and what is kept of its drawings and of a learning that was stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from uce.core.errors import ConfigError
from uce.core.files.pictures import RgbArray
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.ui.pictures import address, cut_out
from uce.ui.things import Thing, Things

if TYPE_CHECKING:
    from uce.ui.growing import Grower

MAX_UNDO = 30


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture that was drawn: its file, and what draws it again.

    Attributes:
        names: of the words in its prompt, without angle brackets.
    """

    path: Path
    prompt: str
    seed: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stopped:
    """A learning that was stopped: how far it was, for which things, with which options, its losses and samples."""

    things: Things
    update: int
    total: int
    options: dict[str, Any]
    losses: tuple[tuple[int, float], ...] = ()
    samples: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class PictureWork:
    """One picture and what became of it.

    Attributes:
        name: for files: ASCII, unlike any other's here. title: what its file was called.
        folder: found/ and learned/ in it are run folders; learning/ is one that was stopped.
        pixels: uint8 (H, W, 3).
        things: as they are now. earlier: what undo goes back to. learned_things: those that words were learned for.
        ours: one of the examples that come with the app.
        losses: (update, total loss) of the last learning.
        grower: its affinity, once it was asked for.
    """

    name: str
    folder: Path
    pixels: RgbArray
    title: str = ""
    things: Things = ()
    earlier: list[Things] = field(default_factory=list)
    learned_things: Things = ()
    stopped: Stopped | None = None
    losses: tuple[tuple[int, float], ...] = ()
    grower: Grower | None = None
    ours: bool = False
    _cut_outs: dict[Thing, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.title = self.title or self.name

    @cached_property
    def address(self) -> str:
        """The picture as part of a page."""
        return address(Image.fromarray(self.pixels))

    @cached_property
    def thumbnail(self) -> str:
        """The same, small."""
        small = Image.fromarray(self.pixels)
        small.thumbnail((240, 240))
        return address(small)

    def cut_out(self, thing: Thing) -> str:
        """A thing of it alone on white, as part of a page."""
        if thing not in self._cut_outs:
            self._cut_outs[thing] = address(cut_out(self.pixels, thing))
        return self._cut_outs[thing]

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
    def warnings(self) -> list[str]:
        """What the localisation warned of."""
        found = Run(RunFolder(self.found)).info.get("warnings") if self.is_found else None
        return [str(text) for text in found] if isinstance(found, list) else []

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
