"""The app without its page: what is asked of it, as functions that a test can call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uce.core.errors import ConfigError
from uce.ui.brush import read_painting
from uce.ui.jobs import Job, JobQueue
from uce.ui.menu import Menu
from uce.ui.pictures import pixel_at
from uce.ui.things import Things, delete, draw, find, merge, rename, split, thing_at, tick
from uce.ui.uploads import take_picture
from uce.ui.work import draw_job, find_job, learn_job
from uce.ui.workspace import PictureWork, Workspace, Workspaces

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
        self.workspaces = Workspaces(root / "work")

    def _load_model(self) -> None:
        from uce.core.config.options import Options
        from uce.core.work.models import backbone_for

        options = Options(**self.menu.fixed)
        manager = options.manager()
        backbone_for(manager, options.resolve(manager))

    @property
    def model(self) -> str:
        return str(self.menu.fixed.get("model") or "mini")

    def upload(self, workspace: Workspace, path: str | None) -> None:
        """A picture was dropped: look for things at once."""
        if path is None:
            return
        if workspace.busy:
            Path(path).unlink(missing_ok=True)
        self._free(workspace)
        pixels = take_picture(Path(path), self.cache)
        self._start(workspace, find_job(workspace, self.menu, workspace.add_picture(pixels, Path(path).name)))

    def example(self, workspace: Workspace, number: int) -> None:
        """One of the pictures that come with the app."""
        from uce.core.files.pictures import load_rgb

        self._free(workspace)
        path = sorted(EXAMPLES.glob("*.webp"))[number]
        self._start(workspace, find_job(workspace, self.menu, workspace.add_picture(load_rgb(path), path.name)))

    def show(self, workspace: Workspace, number: int) -> None:
        """Go to another picture."""
        if not 0 <= number < len(workspace.pictures):
            raise ConfigError("that picture is not here any more")
        self._free(workspace)
        workspace.current, workspace.step = number, 2
        picture = workspace.pictures[number]
        workspace.selected = picture.things[0].name if picture.things else None

    def find_again(self, workspace: Workspace) -> None:
        """Look for things with the settings as they are now."""
        self._free(workspace)
        self._start(workspace, find_job(workspace, self.menu, self._picture(workspace)))

    def learn(self, workspace: Workspace) -> None:
        """Learn a word for every thing that is ticked."""
        self._free(workspace)
        self._start(workspace, learn_job(workspace, self.menu, self._picture(workspace)))

    def draw(self, workspace: Workspace, prompt: str, count: float, seed: float, steps: float) -> None:
        """Draw pictures."""
        self._free(workspace)
        how = {"count": int(count), "seed": int(seed or 0), "steps": int(steps)}
        self._start(workspace, draw_job(workspace, prompt, fixed=self.menu.fixed, **how))

    def stop(self, workspace: Workspace) -> None:
        """Stop what runs."""
        if workspace.job is not None and workspace.job.active:
            self.queue.cancel(workspace.job)

    def tick(self, workspace: Workspace, names: list[str]) -> None:
        """Learn those, and no other."""
        picture = self._picture(workspace)
        if {thing.name for thing in picture.things if thing.wanted} != set(names):
            self._edit(workspace, lambda things: tick(things, names))

    def select_at(self, workspace: Workspace, x: float, y: float) -> None:
        """A click on the overlay."""
        picture = self._picture(workspace)
        thing = thing_at(picture.things, *pixel_at(picture, x, y))
        if thing is not None:
            workspace.selected = thing.name

    def select(self, workspace: Workspace, name: str | None) -> None:
        """Edit that thing."""
        workspace.selected = find(self._picture(workspace).things, name).name

    def rename(self, workspace: Workspace, text: str) -> None:
        """Call the selected thing something else."""
        index = find(self._picture(workspace).things, workspace.selected).index
        self._edit(workspace, lambda things: rename(things, workspace.selected, text, workspace.taken))
        workspace.selected = next(t.name for t in self._picture(workspace).things if t.index == index)

    def merge(self, workspace: Workspace, other: str | None) -> None:
        """Make the selected thing and another one."""
        self._edit(workspace, lambda things: merge(things, workspace.selected, other))

    def split(self, workspace: Workspace) -> None:
        """Make the selected thing two."""
        self._edit(workspace, lambda things: split(things, workspace.selected, workspace.taken))

    def delete(self, workspace: Workspace) -> None:
        """Leave the selected thing out."""
        self._edit(workspace, lambda things: delete(things, workspace.selected))

    def paint(self, workspace: Workspace, value: dict[str, Any] | None, name: str | None) -> None:
        """Take the shape that was painted, for the thing `name` or a new one."""
        picture = self._picture(workspace)
        mask = read_painting(value, picture.pixels.shape[:2])
        self._edit(workspace, lambda things: draw(things, name, mask, workspace.taken))
        workspace.selected = name or picture.things[-1].name

    def undo(self, workspace: Workspace) -> None:
        """Take the last edit back."""
        self._free(workspace)
        picture = self._picture(workspace)
        picture.undo()
        self._keep_selection(workspace, picture)

    def forget(self, workspace: Workspace) -> None:
        """Remove everything of a person now."""
        self.stop(workspace)
        self._free(workspace)
        self.workspaces.forget(workspace)

    def close(self) -> None:
        """Stop all work."""
        self.queue.close()

    def _edit(self, workspace: Workspace, change: Callable[[Things], Things]) -> None:
        self._free(workspace)
        picture = self._picture(workspace)
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

    @staticmethod
    def _free(workspace: Workspace) -> None:
        if workspace.busy:
            raise ConfigError("wait until the work that runs is done, or press Stop")

    def _start(self, workspace: Workspace, job: Job) -> None:
        self.queue.submit(job)
        workspace.job = job
