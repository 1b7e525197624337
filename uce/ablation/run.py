"""Every cell on every picture: models and pictures loaded once, stages shared, failures of single cells survived."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.ablation.folder import AblationFolder, require_same_grid
from uce.ablation.grid import Cell, Variation, Vary, expand, label, parse_vary, resolve_cells, value_of, without_repeats
from uce.ablation.pictures import Subject, read_subjects
from uce.ablation.report import write_reports
from uce.core.config.options import Options, require_same
from uce.core.errors import RunFolderError
from uce.core.files.pictures import PictureSource
from uce.core.flow.configuration import Config
from uce.core.flow.events import CellFinished
from uce.core.flow.picture import picture_digest
from uce.core.registry.manager import Manager
from uce.core.runs.facts import command_line, now
from uce.core.work.attempts import FINISHED, attempt
from uce.core.work.cache import SharedStore
from uce.core.work.models import backbone_for, settle_micro_batch
from uce.core.work.opening import open_work, stage_rows
from uce.core.work.pipeline import Work
from uce.version import __version__


@dataclass
class Ablating:
    """An ablation at work.

    Attributes:
        cells, configs: what is compared; configs by the cell's name.
        subjects: the pictures.
        document: ablation.json, written after every cell.
    """

    folder: AblationFolder
    manager: Manager
    cells: Sequence[Cell]
    configs: dict[str, Config]
    subjects: Sequence[Subject]
    document: dict[str, Any]
    localize_only: bool

    def run(self) -> None:
        """Work on what is not finished yet."""
        jobs = list(self._jobs())
        for number, (subject, cell) in enumerate(jobs, start=1):
            earlier = self._earlier(subject, cell)
            result, seconds = (earlier, 0.0) if earlier else self._try(subject, cell)
            if not earlier:
                self._record(result)
            facts = (subject.name, cell.title, result["status"], seconds, result.get("error"), bool(earlier))
            self.manager.emit(CellFinished(number, len(jobs), *facts))

    def _jobs(self) -> Iterator[tuple[Subject, Cell]]:
        """Model by model, so that each is loaded once; then picture by picture, so that shared results stay near."""
        groups: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault(_model_key(self.configs[cell.name]), []).append(cell)
        for cells in groups.values():
            for subject in self.subjects:
                for cell in cells:
                    yield subject, cell

    def _earlier(self, subject: Subject, cell: Cell) -> dict[str, Any] | None:
        """The result of before, where it is finished and its folder still there."""
        for result in self.document["results"]:
            if (result["picture"], result["cell"]) == (subject.name, cell.name) and result["status"] in FINISHED:
                run = self.folder.run(subject.name, cell.name)
                return result if run.is_run and run.read_run().get("status") == result["status"] else None
        return None

    def _record(self, result: dict[str, Any]) -> None:
        """Put a result in its place: cell by cell, pictures in order, whatever order they were worked on."""
        order = [(cell.name, subject.name) for cell in self.cells for subject in self.subjects]
        results = {(r["cell"], r["picture"]): r for r in self.document["results"]}
        results[result["cell"], result["picture"]] = result
        self.document["results"] = [results[key] for key in order if key in results]
        self.folder.write(self.document)

    def _try(self, subject: Subject, cell: Cell) -> tuple[dict[str, Any], float]:
        """Run one cell; whatever is wrong with it becomes a result with `error`, and what it computed is kept."""
        run = self.folder.run(subject.name, cell.name)
        result: dict[str, Any] = {"cell": cell.name, "picture": subject.name, "status": "failed", "stages": []}
        result["folder"] = f"runs/{subject.name}/{cell.name}"

        def begin() -> Work:
            return open_work(
                self.manager,
                self._settled(cell),
                subject.original,
                subject.file,
                run,
                continued=run.is_run and (run / "config.yaml").is_file(),
                overwrite=True,
                shared=SharedStore(self.folder / "cache", f"{subject.name}/{cell.name}"),
            )

        ended = attempt(begin, run.path, localize_only=self.localize_only)
        result["status"] = ended.status
        if ended.error is not None:
            result |= {"error": ended.error, "empty": ended.empty}
        if ended.work is not None:
            result["stages"] = stage_rows(ended.work)
        return result, ended.seconds

    def _settled(self, cell: Cell) -> Config:
        """The cell's configuration with the micro-batch that all cells of its model share.

        On a GPU it depends on the memory that is free; were it chosen for every cell anew, their sums and so the keys
        of shared results could differ.
        """
        config = self.configs[cell.name]
        if config.run.micro_batch:
            return config
        settled = settle_micro_batch(config, backbone_for(self.manager, config)).run.micro_batch
        key = _model_key(config)
        for name, other in self.configs.items():
            if _model_key(other) == key and not other.run.micro_batch:
                run = other.run.model_copy(update={"micro_batch": settled})
                self.configs[name] = dataclasses.replace(other, run=run)
        for row in self.document["cells"]:
            row["config"] = self.configs[row["name"]].to_dict()
        return self.configs[cell.name]


def _model_key(config: Config) -> tuple[Any, ...]:
    return config.model, config.run.device, config.run.precision


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
    if resume and overwrite:
        raise RunFolderError("--resume and --overwrite exclude each other; give one of them")
    variations = parse_vary(vary)
    manager = options.manager()
    folder = AblationFolder(out)
    stored = folder.read() if resume and folder.begun else None
    if stored is None:
        folder.check(overwrite=overwrite or resume)
    cells = expand(variations, one_at_a_time)
    before = None if stored is None else {row["name"]: row["config"] for row in stored["cells"]}
    configs = resolve_cells(cells, options, manager, before)
    if one_at_a_time:
        cells = without_repeats(cells, configs)
    subjects = read_subjects(sources, truth)
    document = _document(variations, cells, configs, subjects, one_at_a_time, localize_only)
    document["truth"] = None if truth is None else str(truth)
    if stored is not None:
        document = _continued(stored, document, folder.path)
        configs = _with_stored_sums(configs, document)
        for cell in cells:
            require_same(
                options.completed(manager, before[cell.name] if before else {}), configs[cell.name], folder.path
            )
    ablating = Ablating(folder, manager, cells, configs, subjects, document, localize_only)
    if len({_model_key(configs[cell.name]) for cell in cells}) == 1:
        backbone_for(manager, configs[cells[0].name])  # where it cannot be loaded, nothing is written
    if stored is None:
        folder.clear()
    folder.write(document)
    ablating.run()
    document["finished"] = now()
    write_reports(folder, document, subjects)


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
    height, width = subject.original.shape[:2]
    digest = picture_digest(subject.original)
    return {"name": subject.name, "file": subject.file, "digest": digest, "width": width, "height": height}


def _continued(stored: dict[str, Any], asked: dict[str, Any], path: Path) -> dict[str, Any]:
    """The stored document, which must ask for the same; the truth may have changed, it is looked at in the end."""
    require_same_grid(stored, asked, path)
    return {**stored, "truth": asked["truth"], "finished": None}


def _with_stored_sums(configs: Mapping[str, Config], document: Mapping[str, Any]) -> dict[str, Config]:
    """Configurations with the micro-batch that was chosen when the ablation began."""
    found = dict(configs)
    for row in document["cells"]:
        config = found[row["name"]]
        if not config.run.micro_batch:
            run = config.run.model_copy(update={"micro_batch": row["config"]["run"]["micro_batch"]})
            found[row["name"]] = dataclasses.replace(config, run=run)
    return found
