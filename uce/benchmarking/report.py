"""A benchmark as CSV, as Markdown and as a page with pictures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uce.benchmarking import published
from uce.benchmarking.methods import Method
from uce.benchmarking.table import ALL, METRICS, Measured, Row, best, interval, measured, shown
from uce.benchmarking.work import Comparison
from uce.core.files.writing import write_picture, write_text
from uce.core.runs.facts import command_line
from uce.core.runs.overlay import draw_overlay
from uce.core.runs.token_names import token_stem
from uce.core.work.held import Run
from uce.evaluation.metrics import HEADS
from uce.evaluation.pictures import FOLDER
from uce.many.subjects import Subject
from uce.many.tables import Table, csv_text
from uce.reporting.html import environment
from uce.reporting.matrix import matrix_svg
from uce.version import __version__

LABEL_METRICS = ("iou", "exact_count", "sim_i", "sim_c", "acc_1", "prompt_following", "both_recognised")
SHOWN = ("iou", "sim_i", "acc_1", "sim_c", "prompt_following", "both_recognised")
"""Numbers beside the pictures."""


def row_record(row: Row) -> dict[str, Any]:
    """One row, flat: `metric`, `metric_low`, `metric_high`."""
    record: dict[str, Any] = {
        "method": row.method, "encoder": row.encoder, "label": row.label, "pictures": row.pictures,
        "failed": row.failed, "concepts": row.concepts, "prototypes": row.prototypes,
    }  # fmt: skip
    for name, value in row.metrics.items():
        record |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
    return record


def write_tables(plan: Comparison, rows: Sequence[Row], found: Sequence[Measured], notes: Sequence[str]) -> None:
    """table.csv, pictures.csv, table.md, index.html."""
    write_text(plan.folder / "table.csv", csv_text([row_record(row) for row in rows]))
    write_text(plan.folder / "pictures.csv", csv_text([_picture_record(one) for one in found]))
    write_text(plan.folder / "table.md", markdown(rows, facts(plan), notes, cited=_cites(plan)))
    write_text(plan.folder / "index.html", page(plan, rows, found, notes))


def _picture_record(one: Measured) -> dict[str, Any]:
    values = {name: one.measures[name] for name in METRICS if name in one.measures}
    labels = " ".join(label.replace(" ", "-") for label in one.labels)
    facts = {"method": one.method, "encoder": one.encoder, "picture": one.picture, "labels": labels}
    return {**facts, "concepts": one.concepts, **values, "error": one.error}


def facts(plan: Comparison) -> dict[str, str]:
    """What the numbers depend on."""
    draw = None if plan.judging is None else plan.judging.settings
    told = {"pictures": f"{len(plan.pictures.subjects)} of {Path(plan.pictures.origin).name}", **plan.about}
    if draw is not None:
        told["drawn"] = (
            f'{draw.count} pictures per concept, "{draw.prompt}", {draw.steps} steps, guidance {draw.guidance:g}, '
            f"seeds from {draw.seed}; sources {draw.source}, on {draw.fill}"
        )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {**told, "machine": machine, "uce": __version__, "command": command_line()}


def _cites(plan: Comparison) -> bool:
    """Whether papers' rows stand beside: where something was drawn, and by a model like theirs."""
    return plan.judging is not None and plan.about["model"] != "mini"


def markdown(rows: Sequence[Row], about: dict[str, str], notes: Sequence[str], *, cited: bool = False) -> str:
    """The main table with 95% intervals, what papers report where `cited`, then one row per label and method."""
    overall = [row for row in rows if row.label == ALL]
    by_label = [row for row in rows if row.label != ALL]
    parts = [_markdown_table(overall, measured(overall), label=False)]
    if cited:
        parts.append(f"{published.ABOUT}\n\n{published.table().markdown()}")
    if by_label:
        chosen = [metric for metric in measured(by_label) if metric in LABEL_METRICS]
        parts.append("By label (means; few pictures each):\n\n" + _markdown_table(by_label, chosen, label=True))
    parts.append("\n".join(f"- {name}: {text}" for name, text in about.items()))
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: Sequence[Row], metrics: Sequence[str], label: bool) -> str:
    several = len({row.encoder for row in rows}) > 1
    keys = [*(["label"] if label else []), "method", *(["encoder"] if several else [])]
    lines = []
    for row in rows:
        failed = f" ({row.failed} failed)" if row.failed else ""
        numbers = [shown(row.metrics.get(metric), metric, not label) for metric in metrics]
        lines.append((*(getattr(row, key) for key in keys), f"{row.pictures}{failed}", str(row.concepts), *numbers))
    return Table((*keys, "n", "concepts", *(HEADS[m] for m in metrics)), tuple(lines), len(keys)).markdown()


def page(plan: Comparison, rows: Sequence[Row], found: Sequence[Measured], notes: Sequence[str]) -> str:
    """The page with pictures; links are relative, so that the folder can be moved."""
    overall = [row for row in rows if row.label == ALL]
    by_label = [row for row in rows if row.label != ALL]
    chosen = [metric for metric in measured(by_label) if metric in LABEL_METRICS]
    template = environment(Path(__file__).parent).get_template("page.html.j2")
    first = {(one.method, one.picture): one for one in found if one.encoder == found[0].encoder}
    return template.render(
        tables=[("All pictures", overall, measured(overall), False), ("By label", by_label, chosen, True)],
        facts=facts(plan), notes=notes, shown=shown, interval=interval, heads=HEADS, is_best=_is_best,
        encoders=len({row.encoder for row in rows}),
        cited=published.table() if _cites(plan) else None, about_cited=published.ABOUT,
        cards=[_card(plan, subject, first) for subject in plan.pictures.subjects],
    )  # fmt: skip


def _is_best(row: Row, rows: Sequence[Row], metric: str) -> bool:
    """Whether a row is the best of its label and encoder."""
    rivals = [other for other in rows if (other.label, other.encoder) == (row.label, row.encoder)]
    value = row.metrics.get(metric)
    differ = len({other.metrics[metric].mean for other in rivals if metric in other.metrics}) > 1
    return value is not None and differ and value.mean == best(rivals, metric)


def _card(plan: Comparison, subject: Subject, found: dict[tuple[str, str], Measured]) -> dict[str, Any]:
    """One picture: itself, its truth, and every method's masks and drawings."""
    original, true = subject.original, subject.truth
    pictures = [("picture", f"truth/{subject.name}.png")]
    write_picture(plan.folder / pictures[0][1], original)
    if true is not None:
        pictures.append(("truth", f"truth/{subject.name}-truth.png"))
        write_picture(
            plan.folder / pictures[1][1], draw_overlay(original, true, [str(k + 1) for k in range(len(true))])
        )
    methods = [_method_part(plan, method, subject, found.get((method.name, subject.name))) for method in plan.methods]
    return {"name": subject.name, "labels": subject.labels, "pictures": pictures, "methods": methods}


def _method_part(plan: Comparison, method: Method, subject: Subject, one: Measured | None) -> dict[str, Any]:
    values = {} if one is None else one.measures
    numbers = [f"{HEADS[name]} {values[name]:.3f}" for name in SHOWN if name in values]
    error = None if one is None else one.error
    run, pictures = plan.run(method, subject), []
    if method.base is None and run is not None:
        pictures.append(("found", (run.path / "overlay.png").relative_to(plan.folder.path).as_posix()))
    if method.base is not None and run is not None:  # the next picture's tokens
        made = [other for s in plan.pictures.subjects if (other := plan.run(method, s)) is not None]
        run = made[([other.path for other in made].index(run.path) + 1) % len(made)]
    if run is not None and error is None and plan.judging is not None:
        for stem in [*(token_stem(concept.token) for concept in run.concepts), "all"]:
            kept = (run.path / FOLDER).glob(f"{stem}-s{plan.judging.settings.seed}-*.png")
            drawn = sorted(kept, key=lambda path: path.stat().st_mtime)
            if drawn:
                pictures.append((stem, drawn[-1].relative_to(plan.folder.path).as_posix()))
    matrix = None if one is None or one.bleed is None else _matrix(one, plan.run(method, subject))
    return {"name": method.name, "numbers": numbers, "error": error, "pictures": pictures, "matrix": matrix}


def _matrix(one: Measured, run: Run | None) -> str:
    """The picture of a matrix of bleed."""
    assert one.bleed is not None and run is not None
    tokens = [concept.token for concept in run.concepts]
    what = f"{one.method} on {one.picture}: what was drawn from each token (rows), recognised as each concept (columns)"
    return matrix_svg(one.bleed, tokens, what)


def bleed_record(found: Sequence[Measured]) -> dict[str, Any]:
    """Method -> encoder -> picture -> matrix, of those that have one."""
    document: dict[str, Any] = {}
    for one in found:
        if one.bleed is not None:
            document.setdefault(one.method, {}).setdefault(one.encoder, {})[one.picture] = one.bleed
    return document
