"""The app without its page: what is asked of it, as functions that a test can call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.errors import ConfigError
from uce.core.files.pictures import RgbArray
from uce.ui.jobs import CANCELLED, DONE, Job, JobQueue
from uce.ui.menu import Menu
from uce.ui.picture_work import Drawing, PictureWork
from uce.ui.sheet import read_painting
from uce.ui.things import (
    SMALLEST,
    Array,
    Things,
    delete,
    draw,
    find,
    merge,
    rename,
    reshape,
    split,
    thing_at,
    tick,
)
from uce.ui.uploads import take_picture
from uce.ui.work import draw_job, find_job, go_on_job, learn_job
from uce.ui.workspace import Workspace, Workspaces

EXAMPLES = Path(__file__).parent / "examples"
log = logging.getLogger("uce.ui")


class App:
    """Everybody's workspaces, the one queue, and what may be chosen.

    Args:
        root: a folder of its own: people's work, and Gradio's files in cache/.
        fixed: what who started the server decided: model, device, precision, plugin, no_plugin.
        warm: load the model now rather than for the first picture.
    """

    def __init__(self, root: Path, fixed: dict[str, Any] | None = None, *, warm: bool = False) -> None:
        self.root, self.cache = root, root / "cache"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.menu = Menu(fixed)
        self.queue = JobQueue(prepare=self._load_model if warm else lambda: None)
        self.workspaces = Workspaces(root / "work", begin=self.menu.begin)

    def _load_model(self) -> None:
        from uce.core.config.options import Options
        from uce.core.work.models import backbone_for

        options = Options.of(self.menu.fixed)
        manager = options.manager()
        backbone_for(manager, options.resolve(manager))

    @property
    def model(self) -> str:
        return str(self.menu.fixed.get("model") or "mini")

    def upload(self, workspace: Workspace, path: str | None) -> None:
        """A picture was dropped: look for things, at once or after what runs."""
        if path is None:
            return
        pixels = take_picture(Path(path), self.cache)
        self._add(workspace, pixels, Path(path).name)

    def example(self, workspace: Workspace, number: int) -> None:
        """One of the pictures that come with the app."""
        from uce.core.files.pictures import load_rgb

        path = sorted(EXAMPLES.glob("*.webp"))[number]
        self._add(workspace, load_rgb(path), path.name).ours = True

    def _add(self, workspace: Workspace, pixels: RgbArray, name: str) -> PictureWork:
        busy = workspace.busy
        picture = workspace.add_picture(pixels, name)
        self._start(workspace, find_job(workspace, self.menu, picture))
        if busy:
            workspace.say("Your picture waits", f"{picture.title} is looked at when the work before it is done.")
        else:
            workspace.look_at(picture, 1)
        return picture

    def show(self, workspace: Workspace, number: int) -> None:
        """Go to another picture, to the last step that it reached."""
        if not 0 <= number < len(workspace.pictures):
            raise ConfigError("that picture is not here any more")
        picture = workspace.pictures[number]
        workspace.look_at(picture, 3 if picture.run is not None or picture.stopped is not None else 2)

    def find_again(self, workspace: Workspace) -> None:
        """Look for things with the settings as they are now."""
        self._start(workspace, find_job(workspace, self.menu, self._free_picture(workspace)))

    def learn(self, workspace: Workspace) -> None:
        """Learn a word for every thing that is ticked."""
        self._start(workspace, learn_job(workspace, self.menu, self._free_picture(workspace)))

    def go_on(self, workspace: Workspace) -> None:
        """Go on with a learning that was stopped."""
        self._start(workspace, go_on_job(workspace, self._free_picture(workspace), enough=False))

    def use(self, workspace: Workspace) -> None:
        """Keep the words of a learning that was stopped, as they are."""
        self._start(workspace, go_on_job(workspace, self._free_picture(workspace), enough=True))

    def draw(self, workspace: Workspace, prompt: str, count: float, seed: float | None, steps: float) -> None:
        """Draw pictures; without a seed from ones that were not used yet."""
        first = None if seed is None else int(seed)
        job, notes = draw_job(workspace, prompt, count=int(count), seed=first, steps=int(steps), fixed=self.menu.fixed)
        for note in notes:
            workspace.say("About your text", f"{note}.")
        self._start(workspace, job)

    def vary(self, workspace: Workspace, number: int, count: float, steps: float) -> None:
        """Draw the text of a drawing again, from other seeds."""
        self.draw(workspace, self.drawing(workspace, number).prompt, count, None, steps)

    @staticmethod
    def drawing(workspace: Workspace, number: int) -> Drawing:
        """The `number`-th drawing, the newest being 0.

        Raises:
            ConfigError: it is gone.
        """
        if not 0 <= number < len(workspace.drawings):
            raise ConfigError("that drawing is not here any more")
        return workspace.drawings[number]

    def stop(self, workspace: Workspace) -> None:
        """Stop what runs."""
        if workspace.job is not None and workspace.job.active:
            self.queue.cancel(workspace.job)

    def tick(self, workspace: Workspace, names: list[str]) -> None:
        """Learn those, and no other."""
        picture = self._picture(workspace)
        if {thing.name for thing in picture.things if thing.wanted} != set(names):
            self._edit(workspace, lambda things: tick(things, names))

    def click(self, workspace: Workspace, x: float, y: float, how: str) -> None:
        """A click in the picture.

        Args:
            x, y: where, in pixels of the picture.
            how: "add" chooses the thing there, or else adds what belongs to that place to the one that is chosen;
                "take" takes it away; "new" makes a thing of it.
        """
        picture = self._picture(workspace)
        place = int(x), int(y)
        there = thing_at(picture.things, *place)
        if how == "add" and there is not None and there.name != workspace.selected:
            workspace.selected = there.name
        elif how == "new":
            free = ~np.any([thing.mask for thing in picture.things], axis=0) if picture.things else None
            if there is not None:
                raise ConfigError(f"{there.title} is there already; take it away from that place first")
            self._paint(workspace, self._region(workspace, *place, None) & (True if free is None else free), None)
        else:
            self._reshape(workspace, place, add=how == "add")

    def _reshape(self, workspace: Workspace, place: tuple[int, int], *, add: bool) -> None:
        """Add what belongs to a place to the chosen thing, or take it away."""
        picture = self._free_picture(workspace)
        thing = find(picture.things, workspace.selected)
        if add:
            others = [one.mask for one in picture.things if one is not thing]
            region = self._region(workspace, *place, None)
            mask = thing.mask | (region & ~np.any(others, axis=0) if others else region)
        else:
            if thing_at((thing,), *place) is None:
                raise ConfigError(f"{thing.title} is not there; there is nothing to take away")
            mask = thing.mask & ~self._region(workspace, *place, thing.mask)
            if mask.mean() < SMALLEST:
                raise ConfigError(f"nothing of {thing.title} would be left; use Delete to leave it out")
        if (mask == thing.mask).all():
            workspace.say("Nothing changed", f"What belongs to that place is in {thing.title} already.")
            return
        before, after = int(thing.mask.sum()), int(mask.sum())
        self._edit(workspace, lambda things: reshape(things, thing.name, mask))
        workspace.say("Outline changed", f"{thing.title}: {after / before - 1:+.0%}; Undo takes it back.")

    def _region(self, workspace: Workspace, x: int, y: int, within: Array | None) -> Array:
        picture = self._free_picture(workspace)
        height, width = picture.pixels.shape[:2]
        if not (0 <= y < height and 0 <= x < width):
            raise ConfigError("that place is outside of the picture")
        if picture.grower is None:
            from uce.ui.growing import Grower

            picture.grower = Grower.of(picture.found, self.menu.manager)
        return picture.grower.region(x, y, within)

    def select(self, workspace: Workspace, name: str | None) -> None:
        """Edit that thing."""
        workspace.selected = find(self._picture(workspace).things, name).name

    def rename(self, workspace: Workspace, text: str) -> None:
        """Call the selected thing something else."""
        picture = self._picture(workspace)
        index = find(picture.things, workspace.selected).index
        self._edit(workspace, lambda things: rename(things, workspace.selected, text, workspace.taken, picture.name))
        workspace.selected = next(t.name for t in picture.things if t.index == index)

    def merge(self, workspace: Workspace, other: str | None) -> None:
        """Make the selected thing and another one."""
        self._edit(workspace, lambda things: merge(things, workspace.selected, other))

    def split(self, workspace: Workspace) -> None:
        """Make the selected thing two."""
        picture = self._picture(workspace)
        self._edit(workspace, lambda things: split(things, workspace.selected, workspace.taken, picture.name))

    def delete(self, workspace: Workspace) -> None:
        """Leave the selected thing out."""
        self._edit(workspace, lambda things: delete(things, workspace.selected))

    def paint(self, workspace: Workspace, value: dict[str, Any] | None, name: str | None) -> None:
        """Take the shape that was painted, for the thing `name` or a new one."""
        self._paint(workspace, read_painting(value, self._picture(workspace).pixels.shape[:2]), name)

    def _paint(self, workspace: Workspace, mask: Array, name: str | None) -> None:
        picture = self._picture(workspace)
        self._edit(workspace, lambda things: draw(things, name, mask, workspace.taken, picture.name))
        workspace.selected = name or picture.things[-1].name

    def undo(self, workspace: Workspace) -> None:
        """Take the last edit back."""
        picture = self._free_picture(workspace)
        picture.undo()
        self._keep_selection(workspace, picture)

    def forget(self, workspace: Workspace) -> None:
        """Remove everything of a person now; what waits is dropped, and what runs must be over first.

        Raises:
            ConfigError: work still runs.
        """
        for job in workspace.waiting:
            self.queue.cancel(job)
        if workspace.busy:
            raise ConfigError("the work that runs is being stopped; try again in a moment")
        self.workspaces.forget(workspace)

    def close(self) -> None:
        """Stop all work."""
        self.queue.close()

    def _edit(self, workspace: Workspace, change: Callable[[Things], Things]) -> None:
        picture = self._free_picture(workspace)
        picture.edit(change(picture.things))
        self._keep_selection(workspace, picture)

    @staticmethod
    def _keep_selection(workspace: Workspace, picture: PictureWork) -> None:
        names = [thing.name for thing in picture.things]
        if workspace.selected not in names:
            workspace.selected = names[0] if names else None

    @staticmethod
    def _picture(workspace: Workspace) -> PictureWork:
        if workspace.picture is None:
            raise ConfigError("drop a picture first")
        return workspace.picture

    def _free_picture(self, workspace: Workspace) -> PictureWork:
        """The picture that is shown, unless work on it waits or runs."""
        picture = self._picture(workspace)
        if workspace.works_on(picture) is not None:
            raise ConfigError("wait until the work on this picture is done, or press Stop")
        return picture

    def _start(self, workspace: Workspace, job: Job) -> None:
        def ended(job: Job, status: str) -> None:
            workspace.ended += 1
            text = job.problem or {DONE: "Done.", CANCELLED: "Stopped."}.get(status, "")
            workspace.say(job.title, text, shown=True)  # by the line above the steps

        job.ended = ended
        self.queue.submit(job)
        workspace.add_job(job)
