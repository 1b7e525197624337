"""Every picture once: what is finished stays, what is not is handed to the executor, what ends is written down."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.batching.folder import BatchFolder
from uce.batching.index import Index, Row, row_of
from uce.batching.names import Named, give_names, read_names, write_names
from uce.batching.page import write_page
from uce.batching.sources import Entry, read_sources
from uce.core.config.assigned import keys_of, without
from uce.core.config.options import Options
from uce.core.config.resolving import load_config_file, validate_settings
from uce.core.errors import ConfigError, PluginError, UceError
from uce.core.flow.configuration import Config
from uce.core.flow.events import PictureFinished
from uce.core.flow.jobs import Assignment, Job, Outcome
from uce.core.flow.plugin_info import PluginInfo
from uce.core.flow.settings import Settings
from uce.core.registry.manager import Manager
from uce.core.runs.facts import command_line, now
from uce.core.work.models import backbone_for, forget_backbone, settle_micro_batch
from uce.core.work.worker import finished_status
from uce.many.question import require_settings
from uce.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What one call of `uce batch` asks for, checked as far as that goes without its folder."""

    options: Options
    manager: Manager
    entries: Sequence[Entry]
    executor: PluginInfo
    settings: Settings
    localize_only: bool


@dataclass(frozen=True)
class Plan:
    """The same with what the folder holds already.

    Attributes:
        document: batch.json; None where nothing was begun.
        pictures: those asked for. known: all that the batch has, earlier ones too.
    """

    config: Config
    document: dict[str, Any] | None
    pictures: list[Named]
    known: list[Named]


def run_batch(
    sources: Sequence[str | Path],
    options: Options,
    out: Path,
    *,
    executor: str,
    workers: int | None,
    localize_only: bool,
    overwrite: bool,
) -> None:
    """Do what is not done yet and write the index.

    Raises:
        UceError: what is asked, the folder, the model or the executor is at fault.
    """
    asked = _ask(sources, options, executor, workers, localize_only)
    folder = BatchFolder(out.absolute())
    folder.check(overwrite=True)
    plan = _plan(asked, folder, overwrite)
    new = plan.document is None
    if new:  # where the model cannot be loaded, nothing is written
        settled = settle_micro_batch(plan.config, backbone_for(asked.manager, plan.config))
        plan = dataclasses.replace(plan, config=settled)
    if asked.executor.name != "local":
        forget_backbone()  # its memory is for the workers
    with folder.locked() as token:
        if not overwrite and folder.begun and folder.read() != plan.document:  # meanwhile, by a batch that is over
            plan = _plan(asked, folder, False)
        elif new:
            folder.clear()
        _work(asked, folder, plan, token)


def _ask(
    sources: Sequence[str | Path], options: Options, executor: str, workers: int | None, localize_only: bool
) -> Asked:
    """Check the executor, its settings and the sources."""
    manager = options.manager()
    info = manager.get("executor", executor)
    own = keys_of(options.set, "executor")
    if workers is not None:
        own["workers"] = workers
    settings = validate_settings(info.settings_class, own, "executor", info)
    options = dataclasses.replace(options, set=without(options.set, "executor"))
    return Asked(options, manager, read_sources(sources), info, settings, localize_only)


def _plan(asked: Asked, folder: BatchFolder, overwrite: bool) -> Plan:
    """Compare with what was begun, and look at every picture's own options."""
    document = folder.read() if folder.begun and not overwrite else None
    config = _pinned(asked.options, document).resolve(asked.manager)
    if document is not None:
        stored = {
            "--localize-only": document["localize_only"],
            **asked.options.completed(asked.manager, document["config"]),
        }
        require_settings(stored, {"--localize-only": asked.localize_only, **config.to_dict()}, folder.path)
    pictures, known = give_names(asked.entries, read_names(folder / "pictures.jsonl") if document else [])
    _check_options(asked, config, pictures)
    for choice in config.choices:
        choice.settings.input_files()
    return Plan(config, document, pictures, known)


def _pinned(options: Options, document: Mapping[str, Any] | None) -> Options:
    """Options whose threads and micro-batch depend on no machine and no executor, since sums depend on them.

    One thread: more workers use a machine better than more threads do. What the user sets outranks it.
    """
    run = load_config_file(options.config).get("run") if options.config is not None else None
    pinned = {"run.threads": 1} if document is None else {
        f"run.{key}": document["config"]["run"][key] for key in ("threads", "micro_batch")
    }  # fmt: skip
    pinned = {key: value for key, value in pinned.items() if key.removeprefix("run.") not in (run or {})}
    return dataclasses.replace(options, set={**pinned, **options.set})


def _check_options(asked: Asked, config: Config, pictures: Sequence[Named]) -> None:
    """Resolve each kind of own options once; seeds were looked at when they were read."""
    base, seen = config.to_dict(), set()
    for named in pictures:
        options = {key: value for key, value in named.entry.options.items() if key != "seed"}
        key = repr(sorted(options.items(), key=str))
        if options and key not in seen:
            seen.add(key)
            try:
                Options(**options).resolve(asked.manager, base=base)
            except UceError as error:
                raise ConfigError(f"{named.entry.source} in the list: {error}") from error


def _work(asked: Asked, folder: BatchFolder, plan: Plan, token: str) -> None:
    """Hand out what is not finished, and keep the index."""
    started, first = time.monotonic(), now()
    document = plan.document or {"format": folder.FORMAT, "uce": __version__, "started": first}
    document |= {
        "command": command_line(),
        "finished": None,
        "executor": {"name": asked.executor.name, **asked.settings.model_dump(mode="json")},
        "localize_only": asked.localize_only,
        "config": plan.config.to_dict(),
        "pictures": len(plan.known),
    }
    folder.write(document)  # first of all, for it tells that the folder is a batch's
    write_names(folder / "pictures.jsonl", plan.known)
    index = Index(folder / "batch.jsonl")
    jobs = _unfinished(asked, folder, plan, index)
    log.info("%d of %d pictures to do, executor %s", len(jobs), len(plan.pictures), asked.executor.name)
    by_name = {named.name: named for named in plan.pictures}
    done, total = len(plan.pictures) - len(jobs), len(plan.pictures)
    with closing(_execute(asked, folder, plan, token, jobs)) as outcomes:  # an interruption ends the workers, too
        for number, outcome in enumerate(outcomes, start=done + 1):
            folder.require()
            row = row_of(by_name[outcome.name], outcome, folder.run(outcome.name))
            index.append(row)
            facts = (row["name"], row["status"], row["seconds"], row["error"])
            asked.manager.emit(PictureFinished(number, total, *facts))
    folder.require()
    rows = index.write(named.name for named in plan.known)
    counts = Counter(row["status"] for row in rows)
    wall = round(time.monotonic() - started, 3)
    document |= {"finished": now(), "counts": dict(sorted(counts.items())), "worked_on": len(jobs), "seconds": wall}
    write_page(folder, document, rows)
    folder.write(document)


def _unfinished(asked: Asked, folder: BatchFolder, plan: Plan, index: Index) -> list[Job]:
    """Jobs for what is left; pictures that are finished without a line in the index get theirs."""
    jobs = []
    for named in plan.pictures:
        run = folder.run(named.name)
        status = finished_status(run, asked.localize_only)
        if status is None:
            jobs.append(Job(named.name, named.entry.source, named.entry.options))
            continue
        row: Row | None = index.rows.get(named.name)
        if row is None or row["status"] != status:  # killed between the two
            row = row_of(named, Outcome(named.name, status), run)
            index.append(row)
        facts = (row["name"], row["status"], 0.0, None, True)
        number = len(plan.pictures) - len(jobs)
        asked.manager.emit(PictureFinished(number, len(plan.pictures), *facts))
    return jobs


def _execute(
    asked: Asked, folder: BatchFolder, plan: Plan, token: str, jobs: Sequence[Job]
) -> Generator[Outcome, None, None]:
    """The executor's outcomes, one per job.

    Raises:
        PluginError: it answered something else, or its workers write to another disk.
    """
    if not jobs:
        return
    plugins = [str(Path(p).absolute()) if p.endswith(".py") else p for p in asked.options.plugin]
    assignment = Assignment(
        folder=str(folder.path),
        token=token,
        config=plan.config.to_dict(),
        localize_only=asked.localize_only,
        plugin=plugins,
        no_plugin=list(asked.options.no_plugin),
    )
    call = asked.manager.caller("executor", asked.executor)
    outcomes: Any = call(jobs=jobs, assignment=assignment, settings=asked.settings, manager=asked.manager)
    waiting = {job.name for job in jobs}
    if not hasattr(outcomes, "close"):
        raise PluginError(f"executor {asked.executor} returned {type(outcomes).__name__}; a generator is wanted")
    with closing(outcomes):
        for outcome in outcomes:
            if not isinstance(outcome, Outcome) or outcome.name not in waiting:
                raise PluginError(f"executor {asked.executor} yielded {outcome!r}; one Outcome per job is wanted")
            if outcome.status != "failed" and not finished_status(folder.run(outcome.name), asked.localize_only):
                raise PluginError(
                    f"executor {asked.executor}: a worker finished {outcome.name}, but {folder.path / 'runs'} does "
                    "not show it; all machines must work on the same disk"
                )
            waiting.remove(outcome.name)
            yield outcome
    if waiting:
        raise PluginError(f"executor {asked.executor} ended and left out {len(waiting)} pictures, {min(waiting)} first")
