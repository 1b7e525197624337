"""Follow a run in TensorBoard, Weights & Biases or Trackio, through accelerate's trackers.

Losses stay on the device until a batch of them is written, so that watching does not slow the training down. What goes
wrong in a tracker never fails a run: it is one line on stderr, and the tracker is left alone from then on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, unknown_name
from uce.core.hookspecs import hookimpl
from uce.core.runs.folder import TENSORBOARD, TENSORBOARD_SUFFIX, RunFolder

if TYPE_CHECKING:
    from uce.core.flow.events import RunFinished, RunStarted, StageFinished, Step

TRACKERS = ("tensorboard", "trackio", "wandb")
PROJECT = "uce"
BATCH = 50  # updates whose losses are read from the device together


def trackers(names: str | Sequence[str] | None) -> list[RunTracker]:
    """An observer for every name.

    Raises:
        ConfigError: an unknown tracker, or one whose package is not installed.
    """
    chosen = [names] if isinstance(names, str) else list(names or [])
    for name in chosen:
        if name not in TRACKERS:
            raise ConfigError(f"--tracker: {unknown_name('tracker', name, TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"--tracker {name}: the package {name!r} is not installed; get it with: pip install {name}"
                f" (or the extra: pip install 'uce-concepts[{name}]')"
            )
    return [RunTracker(name) for name in dict.fromkeys(chosen)]


class RunTracker:
    """Sends the configuration, every loss, stage times, the overlay and the samples of each run to one tracker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tracker: Any = None
        self.folder = Path()
        self.waiting: list[tuple[int, str, Mapping[str, Any]]] = []
        self.last = 0

    @hookimpl
    def uce_run_started(self, event: RunStarted) -> None:
        self.tracker, self.waiting, self.last = None, [], 0
        if event.folder is None or RunFolder(event.folder).read_run().get("status") == "done":
            return  # nothing is written, or nothing is left to do
        self.folder = event.folder
        with self._safely():
            self.tracker = _started(self.name, event.folder, event.config.to_dict())

    @hookimpl
    def uce_step(self, event: Step) -> None:
        if self.tracker is None:
            return
        self.waiting.append((event.update, event.phase, event.losses))
        if len(self.waiting) >= BATCH or event.update == event.total:
            self._flush()

    @hookimpl
    def uce_stage_finished(self, event: StageFinished) -> None:
        self._flush()
        if self.tracker is not None and not event.cached:
            with self._safely():
                self.tracker.log({f"seconds/{event.stage}": float(event.seconds)}, step=self.last)

    @hookimpl
    def uce_run_finished(self, event: RunFinished) -> None:
        self._flush()
        if self.tracker is None:
            return
        with self._safely():
            for title, path in _pictures(self.folder):
                _log_picture(self.tracker, title, path, self.last)
        if self.tracker is not None:
            with self._safely():
                self.tracker.log({"status": event.status}, step=self.last)
                self.tracker.finish()
        self.tracker = None

    def _flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        if self.tracker is None:
            return
        with self._safely():
            for update, _, losses in waiting:
                self.last = update
                self.tracker.log({f"loss/{key}": float(value) for key, value in losses.items()}, step=update)

    @contextlib.contextmanager
    def _safely(self) -> Iterator[None]:
        """Trackers print where they like: stdout is for the command's result."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # the run matters more than who watches it
            self.tracker = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            print(f"uce: --tracker {self.name} stopped: {reason}; the run goes on without it", file=sys.stderr)


def _started(name: str, folder: Path, document: dict[str, Any]) -> Any:
    """accelerate's tracker, which knows the configuration."""
    from accelerate import tracking

    if name == "tensorboard":
        tracker = tracking.TensorBoardTracker(TENSORBOARD, folder, filename_suffix=f".{TENSORBOARD_SUFFIX}")
        tracker.start()
        import yaml

        # as text: accelerate's own way (add_hparams) lists a second run under a number
        tracker.log({"configuration": f"```yaml\n{yaml.safe_dump(document, sort_keys=False)}```"}, step=0)
        return tracker
    kind = {"wandb": tracking.WandBTracker, "trackio": tracking.TrackioTracker}[name]
    tracker = kind(PROJECT, name=folder.resolve().name)
    tracker.start()
    tracker.store_init_configuration(document)
    return tracker


def _pictures(folder: Path) -> list[tuple[str, Path]]:
    samples = [(f"samples/{path.stem}", path) for path in sorted((folder / "samples").glob("*.png"))]
    return [(title, path) for title, path in [("overlay", folder / "overlay.png"), *samples] if path.is_file()]


def _log_picture(tracker: Any, title: str, path: Path, step: int) -> None:
    import numpy as np

    from uce.core.files.formats import open_picture

    with open_picture(path) as file:
        pixels_HWC = np.asarray(file.convert("RGB"))
    if tracker.name == "tensorboard":
        tracker.log_images({title: pixels_HWC[None]}, step=step, dataformats="NHWC")
    elif tracker.name == "trackio":  # accelerate's has no pictures
        import trackio

        tracker.log({title: trackio.Image(pixels_HWC)}, step=step)
    else:
        tracker.log_images({title: [pixels_HWC]}, step=step)
