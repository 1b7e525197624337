"""What people see in a terminal: progress, tables, the next command to try."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uce.core import logs
from uce.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from uce.core.flow.events import RunFinished, RunStarted, StageFinished, StageStarted, Step

REFRESH_SECONDS = 0.25


class ModelLine:
    """Says on the first line which model works and what it can do."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.said = ""

    @hookimpl
    def uce_run_started(self, event: RunStarted) -> None:
        backbone = event.backbone
        if backbone is not None:
            run = event.config.run
            line = f"model {backbone.model} ({run.device}, {run.precision}): {backbone.description}"
            line += f"; {event.config.note}" if event.config.note else ""
            if line != self.said:  # an ablation starts many runs
                print(line, file=self.stream, flush=True)
                for more in self._more(backbone, event):
                    print(more, file=self.stream, flush=True)
            self.said = line

    @staticmethod
    def _more(backbone: Any, event: RunStarted) -> Iterator[str]:
        """What the work will need, whether the preset was made for this model, and what stays idle."""
        import torch

        from uce.core.model.abilities import joint_layers
        from uce.core.model.costs import plan_for

        run = event.config.run
        plan = plan_for(backbone, event.config.model, run.micro_batch)
        if plan is not None:
            yield str(plan)
        if event.config.preset == "default" and (plan is not None or joint_layers(backbone)):
            yield (
                "preset default was chosen on mini and not tried on real weights; uce doctor --model "
                f"{backbone.model} --compare tries it against 'paper' on yours"
            )
        count = torch.cuda.device_count() if run.device == "cuda" else 0
        if count > 1:
            yield f"{count} GPUs are here and a run uses one; uce batch --executor processes gives each worker one"


class Progress:
    """A bar per stage on stderr: step, losses, time left. Losses are read only when the bar is redrawn."""

    def __init__(self, transient: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.bars = Bars(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=transient,
        )
        self.task: Any = None
        self.drawn = 0.0

    @hookimpl
    def uce_run_started(self, event: RunStarted) -> None:
        for task in self.bars.task_ids:  # of the run before, in an ablation
            self.bars.remove_task(task)

    @hookimpl
    def uce_stage_started(self, event: StageStarted) -> None:
        self.bars.start()
        self.task = self.bars.add_task(event.stage, total=None, note=event.plugin)

    @hookimpl
    def uce_step(self, event: Step) -> None:
        now = time.monotonic()
        if self.task is None or (now - self.drawn < REFRESH_SECONDS and event.update != event.total):
            return
        self.drawn = now
        losses = "  ".join(f"{name} {float(value):.3g}" for name, value in event.losses.items())
        self.bars.update(self.task, completed=event.update, total=event.total, note=f"{event.phase}  {losses}")

    @hookimpl
    def uce_stage_finished(self, event: StageFinished) -> None:
        if self.task is not None:
            total = self.bars.tasks[self.task].total or 1
            note = f"{event.plugin}{' (kept from before)' if event.cached else ''}"
            self.bars.update(self.task, total=total, completed=total, note=note)
            self.task = None

    @hookimpl
    def uce_run_finished(self, event: RunFinished) -> None:
        self.bars.stop()


def observers(quiet: bool, transient: bool = False) -> list[Any]:
    """What listens to a run: the model line, and progress bars where stderr is a terminal."""
    found: list[Any] = [ModelLine(sys.stderr if quiet else sys.stdout)]
    if sys.stderr.isatty():
        found.append(Progress(transient))
    return [] if logs.quiet() else found


@contextmanager
def drawing_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left while pictures are drawn for a measure, in a terminal."""
    if logs.quiet() or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    bars = Progress(transient=True).bars

    def progress(done: int, total: int) -> None:
        if done == 0:
            bars.add_task("pictures", total=total, note="")
            bars.start()
        bars.update(bars.task_ids[-1], completed=done)
        if done == total:  # lines of others follow
            bars.stop()
            bars.remove_task(bars.task_ids[-1])

    try:
        yield progress
    finally:
        bars.stop()


@contextmanager
def status(text: str, quiet: bool = False) -> Iterator[None]:
    """A spinner with `text` on stderr while something works, in a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)):
        yield
