"""A benchmark as CSV, as Markdown and as a page with pictures."""

from __future__ import annotations

import csv
import io
import os
import platform
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from uce.benchmarking.table import ALL, Outcome, Row, best, interval, measured, shown
from uce.benchmarking.work import Plan, finished
from uce.core.files.writing import write_picture, write_text
from uce.core.flow.picture import load_rgb
from uce.core.runs.facts import command_line
from uce.core.runs.overlay import draw_overlay
from uce.core.runs.token_names import token_stem
from uce.evaluation.metrics import HEADS
from uce.evaluation.pictures import FOLDER
from uce.truth.reading import read_truth
from uce.version import __version__

LABEL_METRICS = ("iou", "exact_count", "sim_i", "sim_c", "acc_1")


def row_record(row: Row) -> dict[str, Any]:
    """One row, flat: `metric`, `metric_low`, `metric_high`."""
    record: dict[str, Any] = {
        "method": row.method, "encoder": row.encoder, "label": row.label, "pictures": row.pictures,
        "failed": row.failed, "concepts": row.concepts, "prototypes": row.prototypes,
    }  # fmt: skip
    for name, value in row.metrics.items():
        record |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
    return record


def write_tables(plan: Plan, rows: Sequence[Row], outcomes: Sequence[Outcome], notes: Sequence[str]) -> None:
    """table.csv, pictures.csv, table.md, index.html."""
    write_text(plan.out / "table.csv", _csv([row_record(row) for row in rows]))
    write_text(plan.out / "pictures.csv", _csv([_outcome_record(outcome) for outcome in outcomes]))
    write_text(plan.out / "table.md", markdown(rows, facts(plan), notes))
    write_text(plan.out / "index.html", page(plan, rows, outcomes, notes))


def _outcome_record(outcome: Outcome) -> dict[str, Any]:
    values = {name: total / count for name, (total, count) in outcome.values.items()}
    return {
        "method": outcome.method, "encoder": outcome.encoder, "picture": outcome.picture,
        "labels": " ".join(label.replace(" ", "-") for label in outcome.labels), "concepts": outcome.concepts,
        **values, "error": outcome.error,
    }  # fmt: skip


def _csv(records: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for record in records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    for record in records:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in record.items()})
    return buffer.getvalue()


def facts(plan: Plan) -> dict[str, str]:
    """What the numbers depend on."""
    draw = plan.draw
    shown_facts = {
        "pictures": f"{len(plan.pictures.entries)} of {Path(plan.pictures.origin).name}",
        "model": str(plan.options.get("model") or "mini"),
        "seed": str(plan.options.get("seed") or 0),
        "settings of all methods": " ".join(plan.options["set"]),
    }
    if not plan.masks_only:
        shown_facts["drawn"] = (
            f'{draw.count} pictures per concept, "{draw.prompt}", {draw.steps} steps, guidance {draw.guidance:g}, '
            f"seeds from {draw.seed}; sources {draw.source}, on {draw.fill}"
        )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {**shown_facts, "machine": machine, "uce": __version__, "command": command_line()}


def markdown(rows: Sequence[Row], about: dict[str, str], notes: Sequence[str]) -> str:
    """The main table with 95% intervals, then one row per label and method."""
    overall = [row for row in rows if row.label == ALL]
    by_label = [row for row in rows if row.label != ALL]
    parts = [_markdown_table(overall, measured(overall), label=False)]
    if by_label:
        chosen = [metric for metric in measured(by_label) if metric in LABEL_METRICS]
        parts.append("By label (means; few pictures each):\n\n" + _markdown_table(by_label, chosen, label=True))
    parts.append("\n".join(f"- {name}: {text}" for name, text in about.items()))
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: Sequence[Row], metrics: Sequence[str], label: bool) -> str:
    several = len({row.encoder for row in rows}) > 1
    head = [*(["label"] if label else []), "method", *(["encoder"] if several else []), "n", "concepts"]
    lines = [[*head, *(HEADS[metric] for metric in metrics)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        failed = f" ({row.failed} failed)" if row.failed else ""
        cells = [*([row.label] if label else []), row.method, *([row.encoder] if several else [])]
        cells += [f"{row.pictures}{failed}", str(row.concepts)]
        lines.append([*cells, *(shown(row.metrics.get(metric), metric, not label) for metric in metrics)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(plan: Plan, rows: Sequence[Row], outcomes: Sequence[Outcome], notes: Sequence[str]) -> str:
    """The page with pictures; links are relative, so that the folder can be moved."""
    from jinja2 import Environment

    overall = [row for row in rows if row.label == ALL]
    by_label = [row for row in rows if row.label != ALL]
    chosen = [metric for metric in measured(by_label) if metric in LABEL_METRICS]
    encoder = outcomes[0].encoder if outcomes else ""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    encoders = len({row.encoder for row in rows})
    environment.globals.update(shown=shown, interval=interval, heads=HEADS, is_best=_is_best, encoders=encoders)
    template = environment.from_string(files("uce.benchmarking").joinpath("page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        tables=[("All pictures", overall, measured(overall), False), ("By label", by_label, chosen, True)],
        facts=facts(plan),
        notes=notes,
        cards=[_card(plan, number, [o for o in outcomes if o.encoder == encoder]) for number in _numbers(plan)],
    )


def _numbers(plan: Plan) -> range:
    return range(len(plan.pictures.entries))


def _is_best(row: Row, rows: Sequence[Row], metric: str) -> bool:
    """Whether a row is the best of its label and encoder."""
    rivals = [other for other in rows if (other.label, other.encoder) == (row.label, row.encoder)]
    value = row.metrics.get(metric)
    differ = len({other.metrics[metric].mean for other in rivals if metric in other.metrics}) > 1
    return value is not None and differ and value.mean == best(rivals, metric)


def _card(plan: Plan, number: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """One picture: itself, its truth, and every method's masks and drawings."""
    entry = plan.pictures.entries[number]
    original = load_rgb(entry.path)
    inputs = plan.out / "truth"
    write_picture(inputs / f"{entry.name}.png", original)
    pictures = [("picture", f"truth/{entry.name}.png")]
    if plan.pictures.truth is not None:
        true = read_truth(plan.pictures.truth, entry.name, (original.shape[0], original.shape[1]))
        names = [str(k + 1) for k in range(len(true))]
        write_picture(inputs / f"{entry.name}-truth.png", draw_overlay(original, true, names))
        pictures.append(("truth", f"truth/{entry.name}-truth.png"))
    own = {outcome.method: outcome for outcome in outcomes if outcome.picture == entry.name}
    return {
        "name": entry.name,
        "labels": entry.labels,
        "pictures": pictures,
        "methods": [_method_part(plan, number, method, own.get(method.name)) for method in plan.methods],
    }


def _method_part(plan: Plan, number: int, method: Any, outcome: Outcome | None) -> dict[str, Any]:
    entries = plan.pictures.entries
    values = {} if outcome is None else {name: total / count for name, (total, count) in outcome.values.items()}
    numbers = [f"{HEADS[name]} {values[name]:.3f}" for name in ("iou", "sim_i", "acc_1", "sim_c") if name in values]
    part: dict[str, Any] = {"name": method.name, "numbers": numbers, "pictures": []}
    part["error"] = None if outcome is None else outcome.error
    path = plan.run_path(method, entries[number])
    if method.base is None and (path / "overlay.png").is_file():
        part["pictures"].append(("found", (path / "overlay.png").relative_to(plan.out).as_posix()))
    if method.base is not None:
        made = [n for n in _numbers(plan) if finished(plan, plan.run_path(method, entries[n])) is not None]
        if number in made:
            path = plan.run_path(method, entries[made[(made.index(number) + 1) % len(made)]])
    run = finished(plan, path)
    if run is not None and part["error"] is None:
        for stem in [*(token_stem(concept.token) for concept in run.concepts), "all"]:
            found = sorted((path / FOLDER).glob(f"{stem}-s{plan.draw.seed}-*.png"), key=lambda p: p.stat().st_mtime)
            if found:
                part["pictures"].append((stem, found[-1].relative_to(plan.out).as_posix()))
    return part
