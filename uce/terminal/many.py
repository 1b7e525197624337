"""What people see of a batch."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from uce.core import logs
from uce.core.flow.stages import LOCALISING
from uce.core.hookspecs import hookimpl
from uce.terminal.progress import observers
from uce.terminal.tables import text_table

if TYPE_CHECKING:
    from uce.ablation.result import Ablation
    from uce.batching.result import Batch
    from uce.core.flow.events import CellFinished, PictureFinished

_SHOWN = 20
"""Failures on the terminal; the index has all."""


class PictureLines:
    """A line on stderr for every picture of a batch that was worked on."""

    def __init__(self) -> None:
        self.earlier = 0

    @hookimpl
    def uce_picture_finished(self, event: PictureFinished) -> None:
        if event.earlier:
            self.earlier += 1
            return
        if self.earlier:
            print(f"{self.earlier} of {event.total} pictures were finished before", file=sys.stderr)
            self.earlier = 0
        width = len(str(event.total))
        end = f": {event.error}" if event.error else f", {event.seconds:.1f} s"
        line = f"[{event.number:>{width}}/{event.total}] {event.picture}  {event.status}{end}"
        print(line, file=sys.stderr, flush=True)


def batch_observers(quiet: bool) -> list[Any]:
    """What listens to a batch; with workers elsewhere, only the lines have something to say."""
    return [*observers(quiet, transient=True), *([] if logs.quiet() else [PictureLines()])]


def show_batch(batch: Batch, as_json: bool) -> bool:
    """The counts and what failed; False where a picture failed."""
    failures = batch.failures
    if as_json:
        print(json.dumps(batch.summary(), indent=2))
    else:
        document = batch.document
        counts = ", ".join(f"{number} {status}" for status, number in document["counts"].items())
        pictures = f"{document['pictures']} picture{'' if document['pictures'] == 1 else 's'}"
        print(f"{pictures}: {counts}; {document['worked_on']} worked on in {document['seconds']:.1f} s")
        print(f"seen in {batch.path / 'batch.html'}; index in {batch.path / 'batch.jsonl'}")
        good = next((row for row in batch.rows if row["status"] == "done"), None)
        if good:
            print(f"next: uce generate 'a photo of {good['tokens'][0]}' --run "
                  f"{shlex.quote(str(batch.path / good['folder']))} -o pictures")  # fmt: skip
    for row in failures[:_SHOWN]:
        logs.complain(f"failed: {row['name']}: {row['error']}")
    if failures:
        rest = f" ({len(failures) - _SHOWN} more are in batch.jsonl)" if len(failures) > _SHOWN else ""
        logs.complain(
            f"uce: {len(failures)} of {len(batch)} pictures failed{rest}; mend them and give the same command again"
        )
    return not failures


class CellLines:
    """A line on stderr for every cell of an ablation."""

    @hookimpl
    def uce_cell_finished(self, event: CellFinished) -> None:
        width = len(str(event.total))
        end = f": {event.error}" if event.error else " before" if event.earlier else f", {event.seconds:.1f} s"
        line = f"[{event.number:>{width}}/{event.total}] {event.picture}  {event.cell}  {event.status}{end}"
        print(line, file=sys.stderr, flush=True)


def ablation_observers(vary: Sequence[str], localize_only: bool, quiet: bool) -> list[Any]:
    """What listens to an ablation; says first where learning could be spared."""
    keys = [text.partition("=")[0].strip() for text in vary]
    if keys and not localize_only and all(k.partition(".")[0] in LOCALISING for k in keys):
        print("nothing after stage three varies: --localize-only would compare the masks alone", file=sys.stderr)
    return [*observers(quiet, transient=True), *([] if logs.quiet() else [CellLines()])]


def show_ablation(ablation: Ablation, as_json: bool) -> bool:
    """The table of means, the counts and what failed; False where every cell failed."""
    from uce.ablation.table import count_lines, failure_lines, table_of

    document = ablation.document
    failures, good = failure_lines(document), len(ablation.failures) < len(document["results"])
    if as_json:
        print(json.dumps(ablation.summary(), indent=2))
    else:
        table = table_of(document)
        print(*text_table([table.heads, *table.rows], table.num_keys), sep="\n")
        print("", *document["notes"], *count_lines(document), sep="\n")
        if good:
            print(f"\nside by side in {ablation.path / 'ablation.html'}; numbers in ablation.csv, .md and .tex")
    for line in failures:
        logs.complain(f"failed: {line}")
    if not good:
        logs.complain("uce: every cell failed; mend what the lines above say, then --resume")
    return good
