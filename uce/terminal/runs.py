"""What the terminal shows of one run."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uce.core.work.held import Concept, Run


def show_run(run: Run, as_json: bool) -> None:
    """A small table: concept, token, share of the picture, score; then what to try next."""
    if as_json:
        print(json.dumps(run.summary(), indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from uce.core.files.paths import shown_path, typed_path

    labelled = any(concept.label or concept.words for concept in run.concepts)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("concept", "token", *(["name"] if labelled else [])):
        table.add_column(name, no_wrap=True)
    for name in ("share", "score"):
        table.add_column(name, justify="right")
    table.add_column("mask")
    for concept in run.concepts:
        label = [_label(concept)] if labelled else []
        mask = shown_path(run.path / concept.mask_path)
        row = (str(concept.index), concept.token, *label, f"{concept.share:.1%}", f"{concept.score:.2f}", mask)
        table.add_row(*map(Text, row))  # no markup: a folder may be called [bold]
    Console(highlight=False, width=10_000).print(table)  # paths are never cut; a narrow terminal breaks lines itself
    console = Console(highlight=False, soft_wrap=True)
    folder = typed_path(run.path)
    seen = "report.html" if (run.path / "report.html").is_file() else "overlay.png"
    console.print(f"\n{len(run.concepts)} concepts, seen in {shown_path(run.path / seen)}", markup=False)
    if run.learned:
        prompt = f"a photo of {run.concepts[0].token} on a blue background"
        console.print(f"next: uce generate {shlex.quote(prompt)} --run {folder} -o pictures", markup=False)
    else:
        masks = shown_path(run.path / "masks")
        console.print(f"next: edit, delete or add PNGs in {masks}, then: uce learn {folder}", markup=False)


def _label(concept: Concept) -> str:
    """Its name; where there is none, in brackets, the words that are nearest."""
    return concept.label or (f"(nearest words: {concept.nearest})" if concept.nearest else "")
