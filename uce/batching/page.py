"""batch.html: a contact sheet of the batch, failures first; pictures are loaded from the run folders as one scrolls."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from uce.batching.folder import BatchFolder
from uce.batching.index import Row
from uce.core.files.writing import write_text

MOST = 2000
"""Pictures on the page; a browser has trouble with many more, and the index holds them all."""
SHOWN = 6
"""Drawings of one picture."""
OPEN = 10
"""More failures than these are folded away, or one scrolls past them to every picture."""


def write_page(folder: BatchFolder, document: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write batch.html; every text on it is escaped."""
    from uce.reporting.html import environment

    failed = [row for row in rows if row["status"] == "failed"]
    good = [row for row in rows if row["status"] != "failed"]
    seconds = [row["seconds"] for row in good if row["seconds"]]
    page = (
        environment(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            document=document,
            total=len(rows),
            good=len(good),
            failed=len(failed),
            failures=[{**row, "error": row["error"] or ""} for row in failed[:MOST]],
            cards=[_card(folder, row) for row in good[:MOST]],
            seconds=statistics.median(seconds) if seconds else None,
            most=MOST,
            open=OPEN,
        )
    )
    write_text(folder / "batch.html", page + "\n")


def _card(folder: BatchFolder, row: Row) -> dict[str, Any]:
    """What the page says of one picture; it leads to the picture's report where there is one."""
    run, base = folder.run(row["name"]), quote(row["folder"])
    report = (run / "report.html").is_file()
    drawings = sorted((run / "samples").glob("*.png"), key=lambda path: (path.stem.startswith("all"), path.name))
    return {
        "report": f"{base}/report.html" if report else "",
        "drawings": [(path.stem, f"{base}/samples/{quote(path.name)}") for path in drawings[:SHOWN]],
        "name": row["name"],
        "overlay": f"{quote(row['folder'])}/overlay.png",
        "link": f"{quote(row['folder'])}/{'report.html' if report else 'overlay.png'}",
        "concepts": list(zip(row["tokens"], row["labels"], strict=True)),
    }
