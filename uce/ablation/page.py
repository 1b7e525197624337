"""ablation.html: one page that needs no other file, overlays side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from uce.ablation.folder import AblationFolder
from uce.ablation.table import about_lines, count_lines, failure_lines, tables_of
from uce.core.runs.folder import RunFolder
from uce.core.runs.overlay import draw_overlay
from uce.many.subjects import Subject
from uce.many.tables import head_of, text_of
from uce.reporting.html import data_uri, environment, file_uri
from uce.reporting.matrix import matrix_svg

OVERLAY_SIDE, SAMPLE_SIDE, THUMBNAIL = 480, 112, 96
SHOWN = 3
"""Pictures beside the numbers of each row."""


def render_page(folder: AblationFolder, document: dict[str, Any], subjects: Sequence[Subject]) -> str:
    """The page as text; every name on it is escaped."""
    return (
        environment(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            document=document,
            tables=tables_of(document),
            about=about_lines(document),
            shown=_shown(folder, document, subjects),
            pictures=[_picture(folder, document, subject) for subject in subjects],
            counts=count_lines(document),
            failures=failure_lines(document),
        )
    )


def _shown(folder: AblationFolder, document: dict[str, Any], subjects: Sequence[Subject]) -> list[list[Any]]:
    """For each row of the table what it found in the first pictures, small: (link, picture, words)."""
    found = []
    for row in document["means"]:
        cards = []
        for subject in subjects[:SHOWN]:
            place = f"runs/{subject.name}/{row['cell']}/overlay.png"
            uri = file_uri(folder / place, THUMBNAIL)
            if uri is not None:
                cards.append((quote(place), uri, f"what {row['title']} found in {subject.name}"))
        found.append(cards)
    return found


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
    shown = [name for name in ("concepts", "share", "iou", "ari", "sim_i", "acc_1") if name in result["measures"]]
    samples = sorted((run / "samples").glob("*.png")) if (run / "samples").is_dir() else []
    return {
        "title": cell["title"],
        "error": result.get("error"),
        "overlay": file_uri(run / "overlay.png", OVERLAY_SIDE),
        "link": quote(f"{result['folder']}/overlay.png"),
        "samples": [(path.stem, file_uri(path, SAMPLE_SIDE)) for path in samples],
        "matrix": _matrix(cell["title"], run, result.get("bleed")),
        "facts": [(head_of(name), text_of(name, result["measures"][name])) for name in shown],
    }


def _matrix(title: str, run: RunFolder, bleed: list[list[float]] | None) -> str | None:
    if bleed is None:
        return None
    tokens = [entry["token"] for entry in run.read_concepts()["concepts"]]
    return matrix_svg(bleed, tokens, f"{title}: drawn from each token (rows), recognised as each concept (columns)")
