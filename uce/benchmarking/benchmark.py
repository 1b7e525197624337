"""Check everything, run what is missing, measure, write the tables."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import yaml

from uce.benchmarking import report as reports
from uce.benchmarking.methods import Method, parse_methods
from uce.benchmarking.pictures import PictureSet, compose_pictures, read_pictures
from uce.benchmarking.table import PUBLISHED, Outcome, Row, make_rows
from uce.benchmarking.work import Plan, Report, do_run, measure
from uce.core.config.assigned import Assignments, read_settings, section_of, without
from uce.core.config.devices import resolve_device
from uce.core.config.keywords import ModelOptions, public
from uce.core.config.options import Options
from uce.core.errors import ConfigError, PluginError, RunFolderError
from uce.core.files.locks import writes_out
from uce.core.files.writing import no_links, write_json, write_text
from uce.core.flow.picture import load_rgb
from uce.core.registry.manager import Manager
from uce.core.runs.facts import command_line, now, versions
from uce.core.runs.folder import RunFolder
from uce.evaluation.scores import accuracy_note
from uce.evaluation.settings import OURS, resolve
from uce.truth.reading import read_truth

FORMAT = 1
FILE = "benchmark.json"
METHODS = ("default", "paper", "random-masks", "lower-bound")
QUICK_METHODS = ("default", "random-masks", "lower-bound")
QUICK = {"limit": 4, "count": 2, "steps": 10, "set": ("optimizer.steps=40",)}
"""What `--quick` stands for: minutes on two cores with `mini`. Numbers that small sets give are not worth quoting."""


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark: rows for tables, and what each method did on each picture."""

    path: Path
    rows: list[Row]
    outcomes: list[Outcome]
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "folder": str(self.path),
            "rows": [reports.row_record(row) for row in self.rows],
            "files": {"csv": "table.csv", "pictures": "pictures.csv", "markdown": "table.md", "html": "index.html"},
            "notes": self.notes,
        }


@public
@writes_out
def benchmark(
    out: str | Path,
    *,
    pictures: str | Path | None = None,
    truth: str | Path | None = None,
    objects: str | Path | None = None,
    per_kind: int = 2,
    limit: int | None = None,
    label: Sequence[str] = (),
    methods: Sequence[str] = (),
    methods_file: str | Path | None = None,
    encoder: str | Sequence[str] = (),
    set: Assignments = (),
    quick: bool = False,
    masks_only: bool = False,
    count: int | None = None,
    prompt: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = lambda text: None,
    **options: Unpack[ModelOptions],
) -> Benchmark:
    """Extraction and evaluation of several methods over a set of pictures.

    Args:
        out: the folder; runs go to out/runs/METHOD/PICTURE.
        pictures: "validation" (default), "test", or a folder; `truth`, `limit`, `label` as in `read_pictures`.
        objects: compose `per_kind` scenes of every kind from these objects' pictures instead.
        methods, methods_file: as in `parse_methods`; none: default, paper, random-masks, lower-bound.
        encoder, set, count, prompt, steps, guidance: as in `uce.evaluate`; `set` also takes every setting of a run,
            for all methods.
        quick: few pictures, few steps, unless given otherwise.
        masks_only: localise only, and compare masks with the truth.
        resume: go on; methods, pictures and encoders may be added. overwrite: begin anew.
        options: `model`, `seed`, `device`, `precision`, `plugin`, `no_plugin`, `observers`, as `uce.run`.

    Raises:
        UceError: whatever is at fault, before anything is run.
    """
    folder = Path(out)
    _check_folder(folder, resume=resume, overwrite=overwrite)
    common = read_settings(set)
    texts = list(methods)
    if quick:
        limit = QUICK["limit"] if limit is None else limit  # type: ignore[assignment]
        count = QUICK["count"] if count is None else count  # type: ignore[assignment]
        steps = QUICK["steps"] if steps is None else steps  # type: ignore[assignment]
        common = {**read_settings(QUICK["set"]), **common}  # type: ignore[arg-type]
    if not texts and methods_file is None:
        texts = list(_without_drawing(QUICK_METHODS if quick else METHODS, masks_only))
    chosen_methods = parse_methods(texts, methods_file)
    drawing = {"count": count, "prompt": prompt, "steps": steps, "guidance": guidance}
    run_set = {"run.samples": 0, **without(common, *OURS)}
    asked = Options.of({**options, "set": run_set})
    shared: dict[str, Any] = {"plugin": asked.plugin, "no_plugin": asked.no_plugin, "observers": asked.observers}
    shared = {**options, **shared, "set": run_set}
    manager = dataclasses.replace(asked, observers=()).manager()
    names = [encoder] if isinstance(encoder, str) else list(encoder)
    chosen, draw = resolve(manager, names, section_of(common, *OURS), drawing)
    _check_methods(chosen_methods, manager, asked, masks_only)
    encoders = {c.name: c.load(resolve_device(shared.get("device") or "auto")) for c in chosen if not masks_only}
    source = _pictures(folder, pictures, truth, objects, per_kind, limit, label)
    _check_pictures(source, chosen_methods, masks_only)
    plan = Plan(folder, source, tuple(chosen_methods), shared, draw, masks_only, shared.get("device"), shared["plugin"])
    _begin(plan, resume=resume, overwrite=overwrite)
    _run_all(plan, report)
    return _finish(plan, measure(plan, encoders, report))


def _without_drawing(names: Sequence[str], masks_only: bool) -> list[str]:
    return [name for name in names if not (masks_only and name == "lower-bound")]


def _check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise RunFolderError("--resume and --overwrite exclude each other; give one of them")
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file; give a folder with -o")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / FILE).is_file():
        raise RunFolderError(f"{out} is not empty and holds no benchmark; give a new or empty folder with -o")
    if not (resume or overwrite):
        raise RunFolderError(
            f"{out} holds another benchmark; continue it with --resume, replace it with --overwrite, or give another "
            "folder with -o"
        )


def _check_methods(methods: Sequence[Method], manager: Manager, asked: Options, masks_only: bool) -> None:
    """Every configuration resolves, so that a misspelt name does not show after hours."""
    for method in methods:
        if method.base is not None and masks_only:
            raise ConfigError(f"--methods: {method.name} needs tokens, which --masks-only does not learn; leave it out")
        if method.base is not None:
            continue
        try:
            asked.resolve(manager, base=method.document)
        except (ConfigError, PluginError) as error:
            raise type(error)(f"method {method.name}: {error}") from error


def _pictures(
    folder: Path,
    pictures: str | Path | None,
    truth: str | Path | None,
    objects: str | Path | None,
    per_kind: int,
    limit: int | None,
    label: Sequence[str],
) -> PictureSet:
    source: str | Path = "validation" if pictures is None else pictures
    if objects is not None:
        composed = folder / "pictures"
        if not (composed / "index.json").is_file():
            compose_pictures(objects, str(source), per_kind, composed)
        source = composed
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit must be at least 1, found {limit}")
    return read_pictures(source, truth, limit, label)


def _check_pictures(source: PictureSet, methods: Sequence[Method], masks_only: bool) -> None:
    if masks_only and source.truth is None:
        raise ConfigError("--masks-only compares masks with the truth; say where it is with --truth FOLDER")
    if len(source.entries) < 2 and any(method.base for method in methods):
        raise ConfigError("the lower bound shows another picture's tokens and needs at least 2 pictures; leave it out")
    if source.truth is not None:
        for entry in source.entries:
            height, width = load_rgb(entry.path).shape[:2]
            read_truth(source.truth, entry.name, (height, width))


def _begin(plan: Plan, *, resume: bool, overwrite: bool) -> None:
    """Write what is to be done, or check that it is what was begun."""
    digests = {e.name: hashlib.sha256(e.path.read_bytes()).hexdigest() for e in plan.pictures.entries}
    options = {k: v for k, v in plan.options.items() if k not in ("observers", "device") and v not in (None, (), [])}
    facts: dict[str, Any] = {
        "options": {k: _recorded(v) for k, v in options.items()},
        "masks_only": plan.masks_only,
        "methods": {method.name: dict(method.document) for method in plan.own},
        "pictures": digests,
    }
    if overwrite:
        _clear(plan.out)
    elif resume and (plan.out / FILE).is_file():
        facts = _merged(RunFolder(plan.out).read_json(FILE), facts, plan.out)
    write_json(
        plan.out / FILE,
        {
            "format": FORMAT,
            "status": "running",
            "command": command_line(),
            "started": now(),
            "versions": versions(),
            **facts,
            "evaluation": plan.draw.model_dump(mode="json"),
        },
    )
    for method in plan.own:
        write_text(plan.config_path(method), yaml.safe_dump(dict(method.document), sort_keys=False))


def _recorded(value: Any) -> Any:
    """A value as benchmark.json keeps it."""
    if hasattr(value, "fingerprint"):  # a model that is loaded already
        return str(value.model)
    if isinstance(value, Mapping):
        return [f"{key}={one if isinstance(one, str) else json.dumps(one)}" for key, one in value.items()]
    return list(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _merged(stored: Any, facts: dict[str, Any], out: Path) -> dict[str, Any]:
    """Stored facts with what is new; what was begun must not change."""
    merged: dict[str, Any] = {}
    for key, value in facts.items():
        before = stored.get(key) if isinstance(stored, dict) else None
        if isinstance(before, dict) and isinstance(value, dict):
            changed = [f"{key}.{name}" for name in sorted(before.keys() & value.keys()) if before[name] != value[name]]
            if key == "options":
                changed += [f"options.{name}" for name in sorted(before.keys() ^ value.keys())]
        else:
            changed = [] if before == value else [key]
        if changed:
            raise ConfigError(
                f"--resume: {out} was begun with another {changed[0]}; give the same, or begin anew with --overwrite"
            )
        merged[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _clear(out: Path) -> None:
    """Remove what a benchmark wrote, and nothing else."""
    for path in no_links(out, "runs/*/*"):
        if path.is_dir():
            RunFolder(path).clear()
            with contextlib.suppress(OSError):
                path.rmdir()
        elif path.name.endswith(".failed.json"):
            path.unlink()
    for path in [*no_links(out, "methods/*.yaml"), *no_links(out, "truth/*.png")]:
        path.unlink()
    for name in (FILE, "table.csv", "pictures.csv", "table.md", "index.html"):
        (out / name).unlink(missing_ok=True)
    for path in [*(out / "runs").glob("*"), out / "runs", out / "methods", out / "truth"]:
        with contextlib.suppress(OSError):
            path.rmdir()


def _run_all(plan: Plan, report: Report) -> None:
    """Picture by picture, so that what is there after an interruption compares."""
    jobs = [(entry, method) for entry in plan.pictures.entries for method in plan.own]
    for number, (entry, method) in enumerate(jobs, start=1):
        report(f"[{number}/{len(jobs)}] {method.name} on {entry.name} ...")
        report(f"[{number}/{len(jobs)}] {method.name} on {entry.name}: {do_run(plan, method, entry)}")


def _finish(plan: Plan, outcomes: list[Outcome]) -> Benchmark:
    rows = make_rows(outcomes)
    notes = []
    for row in rows:
        note = None if plan.masks_only or row.label != "all" else accuracy_note(row.prototypes)
        if note is not None:
            notes.append(f"{row.method}: {note}")
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for name in dict.fromkeys(outcome.method for outcome in failed):
        pictures = list(dict.fromkeys(outcome.picture for outcome in failed if outcome.method == name))
        notes.append(f"{name} found nothing in {len(pictures)} pictures ({', '.join(pictures)}); masks count as missed")
    if not plan.masks_only and str(plan.options.get("model") or "mini") != "mini":
        notes.append(PUBLISHED)
    result = Benchmark(plan.out, rows, outcomes, notes)
    reports.write_tables(plan, result.rows, result.outcomes, notes)
    document = RunFolder(plan.out).read_json(FILE)
    table = {"facts": reports.facts(plan), "rows": [reports.row_record(row) for row in rows], "notes": notes}
    write_json(plan.out / FILE, {**document, "status": "done", "finished": now(), **table})
    return result
