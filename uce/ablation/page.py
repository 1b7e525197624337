"""ablation.html: one page that needs no other file, overlays side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from uce.ablation.folder import AblationFolder
from uce.ablation.table import count_lines, failure_lines
from uce.core.runs.overlay import draw_overlay
from uce.many.subjects import Subject
from uce.many.tables import Table, head_of, text_of
from uce.reporting.html import data_uri, environment, file_uri

OVERLAY_SIDE, SAMPLE_SIDE = 480, 112


def render_page(folder: AblationFolder, document: dict[str, Any], table: Table, subjects: Sequence[Subject]) -> str:
    """The page as text; every name on it is escaped."""
    return (
        environment(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            document=document,
            table=table,
            pictures=[_picture(folder, document, subject) for subject in subjects],
            counts=count_lines(document),
            failures=failure_lines(document),
        )
    )


def _picture(folder: AblationFolder, document: dict[str, Any], subject: Subject) -> dict[str, Any]:
    """One picture's part of the page: itself, its truth, and a card per cell."""
    results = {result["cell"]: result for result in document["results"] if result["picture"] == subject.name}
    original, true, truth = subject.original, subject.truth, None
    if true is not None:
        truth = data_uri(draw_overlay(original, true, [str(k + 1) for k in range(len(true))]), OVERLAY_SIDE)
    return {
        "name": subject.name,
        "original": data_uri(Image.fromarray(original), OVERLAY_SIDE),
        "truth": truth,
        "things": None if true is None else len(true),
        "cards": [_card(folder, cell, results[cell["name"]]) for cell in document["cells"]],
    }


def _card(folder: AblationFolder, cell: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    run = folder.run(result["picture"], result["cell"])
    shown = [name for name in ("concepts", "share", "iou", "ari") if name in result["measures"]]
    samples = sorted((run / "samples").glob("*.png")) if (run / "samples").is_dir() else []
    return {
        "title": cell["title"],
        "error": result.get("error"),
        "overlay": file_uri(run / "overlay.png", OVERLAY_SIDE),
        "link": quote(f"{result['folder']}/overlay.png"),
        "samples": [(path.stem, file_uri(path, SAMPLE_SIDE)) for path in samples],
        "facts": [(head_of(name), text_of(name, result["measures"][name])) for name in shown],
    }
