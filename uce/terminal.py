"""What people see in a terminal: progress, tables, the next command to try."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uce.core import logs
from uce.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from uce.ablation.result import Ablation
    from uce.ablation.table import Table as AblationTable
    from uce.core.events import CellFinished, RunFinished, RunStarted, StageFinished, StageStarted, Step
    from uce.core.run import Concept, Run

REFRESH_SECONDS = 0.25


class ModelLine:
    """Says on the first line which model works and what it can do."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.said = ""

    @hookimpl
    def uce_run_started(self, event: RunStarted) -> None:
        from uce.core.session import current_backbone

        backbone = current_backbone()
        if backbone is not None:
            run = event.config.run
            line = f"model {backbone.model} ({run.device}, {run.precision}): {backbone.description}"
            if line != self.said:  # an ablation starts many runs
                print(line, file=self.stream, flush=True)
            self.said = line


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
            TextColumn("{task.fields[note]}"),
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


class CellLines:
    """A line on stderr for every cell of an ablation."""

    @hookimpl
    def uce_cell_finished(self, event: CellFinished) -> None:
        width = len(str(event.total))
        end = f": {event.error}" if event.error else " before" if event.earlier else f", {event.seconds:.1f} s"
        line = f"[{event.number:>{width}}/{event.total}] {event.picture}  {event.cell}  {event.status}{end}"
        print(line, file=sys.stderr, flush=True)


def observers(quiet: bool, transient: bool = False) -> list[Any]:
    """What listens to a run: the model line, and progress bars where stderr is a terminal."""
    found: list[Any] = [ModelLine(sys.stderr if quiet else sys.stdout)]
    if sys.stderr.isatty():
        found.append(Progress(transient))
    return [] if logs.quiet() else found


def ablation_observers(vary: Sequence[str], localize_only: bool, quiet: bool) -> list[Any]:
    """What listens to an ablation; says first where learning could be spared."""
    keys = [text.partition("=")[0].strip() for text in vary]
    if keys and not localize_only and all(k.partition(".")[0] in ("extractor", "clusterer", "refiner") for k in keys):
        print("nothing after stage three varies: --localize-only would compare the masks alone", file=sys.stderr)
    return [*observers(quiet, transient=True), *([] if logs.quiet() else [CellLines()])]


@contextmanager
def status(text: str, quiet: bool = False) -> Iterator[None]:
    """A spinner with `text` on stderr while something works, in a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def show_run(run: Run, as_json: bool) -> None:
    """A small table: concept, token, share of the picture, score; then what to try next."""
    if as_json:
        print(json.dumps(run.summary(), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    labelled = any(concept.label for concept in run.concepts)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("concept", "token", *(["label"] if labelled else [])):
        table.add_column(name, no_wrap=True)
    for name in ("share", "score"):
        table.add_column(name, justify="right")
    table.add_column("mask")
    for concept in run.concepts:
        label = [_label(concept)] if labelled else []
        mask = str(run.path / concept.mask_path)
        table.add_row(str(concept.index), concept.token, *label, f"{concept.share:.1%}", f"{concept.score:.2f}", mask)
    Console(highlight=False, width=10_000).print(table)  # paths are never cut; a narrow terminal breaks lines itself
    console = Console(highlight=False, soft_wrap=True)
    folder = shlex.quote(str(run.path))
    seen = "report.html" if (run.path / "report.html").is_file() else "overlay.png"
    console.print(f"\n{len(run.concepts)} concepts, seen in {run.path / seen}", markup=False)
    if run.learned:
        prompt = f"a photo of {run.concepts[0].token} on a blue background"
        console.print(f"next: uce generate {shlex.quote(prompt)} --run {folder} -o pictures", markup=False)
    else:
        console.print(f"next: edit, delete or add PNGs in {run.path / 'masks'}, then: uce learn {folder}", markup=False)


def _label(concept: Concept) -> str:
    """The label, and in brackets the other words that are near."""
    others = ", ".join(word for word in concept.words if word != concept.label)
    return f"{concept.label or ''} {f'({others})' if others else ''}".strip()


def text_table(table: AblationTable) -> list[str]:
    """Lines of a table whose columns are as wide as they need: keys to the left, numbers to the right."""
    lines = [table.heads, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.heads))]
    return [
        "  ".join(
            f"{text:{'<' if column < table.num_keys else '>'}{width}}"
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def show_ablation(ablation: Ablation, as_json: bool) -> bool:
    """The table of means, the counts and what failed; False where every cell failed."""
    from uce.ablation.table import count_lines, failure_lines, table_of

    document = ablation.document
    failures, good = failure_lines(document), len(ablation.failures) < len(document["results"])
    if as_json:
        print(json.dumps(ablation.summary(), indent=2))
    else:
        for line in text_table(table_of(document)):
            print(line)
        print("", *count_lines(document), sep="\n")
        if good:
            print(f"\nside by side in {ablation.path / 'ablation.html'}; numbers in ablation.csv and ablation.md")
    for line in failures:
        logs.complain(f"failed: {line}")
    if not good:
        logs.complain("uce: every cell failed; mend what the lines above say, then --resume")
    return good
