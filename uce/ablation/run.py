"""A grid from the question to its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uce.ablation.folder import AblationFolder, require_same_grid
from uce.ablation.grid import Cell, Variation, Vary, expand, label, parse_vary, resolve_cells, value_of, without_repeats
from uce.ablation.report import write_reports
from uce.core.config.options import Options, require_same
from uce.core.files.pictures import PictureSource
from uce.core.flow.configuration import Config
from uce.core.flow.events import CellFinished
from uce.core.runs.facts import command_line, now
from uce.many.engine import Engine, with_micro_batch
from uce.many.subjects import Subject, read_subjects
from uce.version import __version__


def run_ablation(
    sources: Sequence[PictureSource],
    options: Options,
    out: Path,
    *,
    vary: Vary,
    one_at_a_time: bool,
    localize_only: bool,
    truth: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Run the grid and write its tables.

    Raises:
        UceError: what is asked, a picture, the folder, or the only model is at fault.
    """
    variations = parse_vary(vary)
    manager = options.manager()
    folder = AblationFolder(out)
    stored = folder.open(resume=resume, overwrite=overwrite)
    cells = expand(variations, one_at_a_time)
    before = None if stored is None else {row["name"]: row["config"] for row in stored["cells"]}
    configs = resolve_cells(cells, options, manager, before)
    if one_at_a_time:
        cells = without_repeats(cells, configs)
    subjects = read_subjects(sources, truth)
    document = _document(variations, cells, configs, subjects, one_at_a_time, localize_only)
    if stored is not None:
        require_same_grid(stored, document, folder.path)
        document = {**stored, "finished": None}
    document["truth"] = None if truth is None else str(truth)  # may have changed: it is looked at in the end
    configs = {
        row["name"]: with_micro_batch(configs[row["name"]], row["config"]["run"]["micro_batch"])
        for row in document["cells"]
    }
    for name, config in configs.items() if before is not None else ():
        require_same(options.completed(manager, (before or {}).get(name, {})), config, folder.path)
    results = {(row["cell"], row["picture"]): row for row in document["results"]}
    engine = Engine(
        manager, configs, subjects, lambda cell, picture: folder.run(picture, cell), localize_only, results,
        folder / "cache",
    )  # fmt: skip
    engine.load()
    if stored is None:
        folder.clear()
    folder.write(document)
    _work(engine, folder, document)
    document["finished"] = now()
    write_reports(folder, document, subjects)


def _work(engine: Engine, folder: AblationFolder, document: dict[str, Any]) -> None:
    """Work on what is not finished yet."""
    jobs, titles = list(engine.jobs()), {row["name"]: row["title"] for row in document["cells"]}
    for number, (cell, subject) in enumerate(jobs, start=1):
        ended = engine.do(cell, subject)
        if not ended.earlier:
            for row in document["cells"]:
                row["config"] = engine.configs[row["name"]].to_dict()
            document["results"] = engine.ordered()
            folder.write(document)
        facts = (ended.result["status"], ended.seconds, ended.result.get("error"), ended.earlier)
        engine.manager.emit(CellFinished(number, len(jobs), subject.name, titles[cell], *facts))


def _document(
    variations: Sequence[Variation],
    cells: Sequence[Cell],
    configs: Mapping[str, Config],
    subjects: Sequence[Subject],
    one_at_a_time: bool,
    localize_only: bool,
) -> dict[str, Any]:
    """ablation.json before anything ran."""
    keys = [item.key for item in variations]
    rows = []
    for cell in cells:
        config = configs[cell.name]
        values = {key: label(cell.changes[key]) if key in cell.changes else value_of(config, key) for key in keys}
        rows.append({"name": cell.name, "title": cell.title, "values": values, "config": config.to_dict()})
    return {
        "format": AblationFolder.FORMAT,
        "uce": __version__,
        "command": command_line(),
        "started": now(),
        "finished": None,
        "vary": [{"key": item.key, "values": list(item.labels)} for item in variations],
        "one_at_a_time": one_at_a_time,
        "localize_only": localize_only,
        "pictures": [_picture_row(subject) for subject in subjects],
        "cells": rows,
        "results": [],
    }


def _picture_row(subject: Subject) -> dict[str, Any]:
    digest, height, width = subject.facts
    return {"name": subject.name, "file": subject.file, "digest": digest, "width": width, "height": height}
