"""A grid from the question to its tables."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.ablation.folder import AblationFolder, require_grown
from uce.ablation.grid import Cell, Variation, Vary, expand, label, parse_vary, resolve_cells, value_of, without_repeats
from uce.ablation.report import write_reports
from uce.ablation.rows import make_rows
from uce.core.config.assigned import section_of, without
from uce.core.config.options import Options, require_same
from uce.core.errors import ConfigError, UceError
from uce.core.files.pictures import PictureSource
from uce.core.flow.configuration import Config
from uce.core.flow.events import CellFinished
from uce.core.registry.manager import Manager
from uce.core.runs.facts import command_line, now
from uce.core.work.source_code import source_digest
from uce.evaluation.drawing import Progress, tell_nobody
from uce.evaluation.judging import Judging
from uce.evaluation.settings import OURS, resolve
from uce.many.engine import Engine, with_micro_batch
from uce.many.subjects import Subject, read_subjects
from uce.many.tables import plural
from uce.version import __version__


@dataclass(frozen=True)
class Asked:
    """How the grid is worked on.

    Attributes:
        encoder: who compares what tokens draw with the pictures, with `evaluate`.
        progress: hears how far the drawing for it is.
    """

    vary: Vary
    one_at_a_time: bool = False
    localize_only: bool = False
    truth: Path | None = None
    evaluate: bool = False
    encoder: str | None = None
    progress: Progress = tell_nobody


def run_ablation(
    sources: Sequence[PictureSource], options: Options, out: Path, asked: Asked, *, resume: bool, overwrite: bool
) -> None:
    """Run the grid and write its tables.

    Raises:
        UceError: what is asked, a picture, the folder, or the only model is at fault.
    """
    variations = parse_vary(asked.vary)
    options, for_drawing = _split(options, asked)
    manager = options.manager()
    folder = AblationFolder(out)
    stored = folder.open(resume=resume, overwrite=overwrite)
    cells = expand(variations, asked.one_at_a_time)
    before = {} if stored is None else {row["name"]: row["config"] for row in stored["cells"]}
    base = _base(options, manager, (stored or {}).get("base_config"))
    configs = resolve_cells(cells, options, manager, before, None if stored is None else base)
    if asked.one_at_a_time:
        cells = without_repeats(cells, configs)
    subjects = read_subjects(sources, asked.truth)
    document = _document(variations, cells, configs, base, subjects, asked, manager)
    if stored is not None:
        require_grown(stored, document, folder.path)
        document |= {key: stored[key] for key in ("format", "started", "results")}
        document["base"] = next((c.name for c in cells if c.name == stored.get("base")), document["base"])
    configs = {cell.name: configs[cell.name] for cell in cells}
    for name in configs.keys() & before.keys():
        configs[name] = with_micro_batch(configs[name], before[name]["run"]["micro_batch"])
        require_same(options.completed(manager, before[name]), configs[name], folder.path)
    judging = _judging(asked, options, manager, for_drawing) if asked.evaluate else None
    if judging is not None:
        document["evaluate"] = {"encoder": next(iter(judging.encoders), None), **judging.settings.model_dump()}
    results = {(row["cell"], row["picture"]): row for row in document["results"]}
    engine = Engine(
        manager, configs, subjects, lambda cell, picture: folder.run(picture, cell), asked.localize_only, results,
        folder / "cache", None if judging is None else judging.draw,
    )  # fmt: skip
    engine.load()
    if stored is None:
        folder.clear()
    else:
        folder.sweep()
        document["notes"] = _forget_stale(engine, folder, stored.get("code", {}), document)
    folder.write(document)
    _work(engine, folder, document)
    document["finished"] = now()
    rows = make_rows(cells, engine.configs, [item.key for item in variations])
    write_reports(folder, document, rows, subjects, judging)


def _split(options: Options, asked: Asked) -> tuple[Options, dict[str, Any]]:
    """Settings of the runs, and those of the evaluation."""
    theirs = section_of(options.set, *OURS)
    options = dataclasses.replace(options, set=without(options.set, *OURS))
    if asked.evaluate and asked.localize_only:
        raise ConfigError("--evaluate draws from tokens, which --localize-only does not learn; leave one of them out")
    if (theirs or asked.encoder) and not asked.evaluate:
        first = next((f"{key}={label(value)}" for key, value in theirs.items()), "--encoder")
        raise ConfigError(f"{first} is for --evaluate; add that, or leave it out")
    return options, theirs


def _judging(asked: Asked, options: Options, manager: Manager, assignments: Mapping[str, Any]) -> Judging:
    chosen, drawing = resolve(manager, [asked.encoder] if asked.encoder else [], assignments, {})
    return Judging.of(chosen, drawing, options.device, options.plugin, asked.progress)


def _base(options: Options, manager: Manager, stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The base configuration; None where the options make sense in the cells alone."""
    try:
        return options.resolve(manager, base=stored).to_dict()
    except UceError:
        return None


def _work(engine: Engine, folder: AblationFolder, document: dict[str, Any]) -> None:
    """Work on what is not finished yet."""
    jobs, titles = list(engine.jobs()), {row["name"]: row["title"] for row in document["cells"]}
    for number, (cell, subject) in enumerate(jobs, start=1):
        ended = engine.do(cell, subject)
        if not ended.earlier:
            for row in document["cells"]:
                row["config"] = engine.configs[row["name"]].to_dict()
        document["results"] = engine.ordered()
        if not ended.earlier or number == len(jobs):
            folder.write(document)
        facts = (ended.result["status"], ended.seconds, ended.result.get("error"), ended.earlier)
        engine.manager.emit(CellFinished(number, len(jobs), subject.name, titles[cell], *facts))


def _forget_stale(
    engine: Engine, folder: AblationFolder, before: Mapping[str, Mapping[str, str]], document: dict[str, Any]
) -> list[str]:
    """Clear the runs whose plugins have other code now.

    Returns:
        a line for every plugin that changed.
    """
    changed: dict[str, int] = {}
    for cell in engine.configs:
        now_there, then = document["code"][cell], before.get(cell)
        differing = [] if then is None else [name for name, code in now_there.items() if then.get(name) != code]
        for subject in engine.subjects if differing else ():
            run = engine.place(cell, subject.name)
            if engine.results.pop((cell, subject.name), None) is not None or run.is_run:
                run.clear()
                for name in differing:
                    changed[name] = changed.get(name, 0) + 1
    document["results"] = engine.ordered()
    return [f"the {name} changed: {plural(count, 'run')} computed again" for name, count in changed.items()]


def _code(config: Config, manager: Manager) -> dict[str, str]:
    """Plugin -> a hash of its source, of those that wrap it, and of the files that its settings name."""
    found = {}
    for choice in config.choices:
        objects = [choice.plugin.obj, *(info.obj for info in manager.wrappers(choice.stage))]
        parts = [source_digest(obj) for obj in objects]
        parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in choice.settings.input_files()]
        found[f"{choice.stage} {choice.plugin.name}"] = hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
    return found


def _document(
    variations: Sequence[Variation],
    cells: Sequence[Cell],
    configs: Mapping[str, Config],
    base: Mapping[str, Any] | None,
    subjects: Sequence[Subject],
    asked: Asked,
    manager: Manager,
) -> dict[str, Any]:
    """ablation.json before anything ran."""
    keys = [item.key for item in variations]
    rows: list[dict[str, Any]] = []
    for cell in cells:
        config = configs[cell.name]
        values = {key: label(cell.changes[key]) if key in cell.changes else value_of(config, key) for key in keys}
        rows.append({"name": cell.name, "title": cell.title, "values": values, "config": config.to_dict()})
    is_base = (row["name"] for row in rows if _but_for_seeds(row["config"]) == _but_for_seeds(base))
    return {
        "format": AblationFolder.FORMAT,
        "uce": __version__,
        "command": command_line(),
        "started": now(),
        "finished": None,
        "vary": [{"key": item.key, "values": list(item.labels)} for item in variations],
        "one_at_a_time": asked.one_at_a_time,
        "localize_only": asked.localize_only,
        "truth": None if asked.truth is None else str(asked.truth),
        "evaluate": None,
        "pictures": [_picture_row(subject) for subject in subjects],
        "base": next(is_base, rows[0]["name"]),
        "base_config": base,
        "cells": rows,
        "code": {cell.name: _code(configs[cell.name], manager) for cell in cells},
        "notes": [],
        "results": [],
    }


def _but_for_seeds(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if config is None else {**config, "run": {**config["run"], "seed": None}}


def _picture_row(subject: Subject) -> dict[str, Any]:
    digest, height, width = subject.facts
    return {"name": subject.name, "file": subject.file, "digest": digest, "width": width, "height": height}
