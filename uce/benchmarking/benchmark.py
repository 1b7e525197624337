"""Check everything, run what is missing, measure, write the tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from uce.benchmarking import report as reports
from uce.benchmarking.folder import BenchmarkFolder
from uce.benchmarking.methods import Method, parse_methods
from uce.benchmarking.pictures import PictureSet, compose_pictures, read_pictures
from uce.benchmarking.table import Measured, Row, make_rows
from uce.benchmarking.work import Comparison, Report, measure_all, run_all
from uce.core.config.assigned import Assignments, read_settings, section_of, without
from uce.core.config.keywords import ModelOptions, public
from uce.core.config.options import Options
from uce.core.errors import ConfigError, PluginError
from uce.core.files.locks import writes_out
from uce.core.flow.configuration import Config
from uce.core.registry.manager import Manager
from uce.core.runs.facts import command_line, now, versions
from uce.evaluation.drawing import Progress, tell_nobody
from uce.evaluation.judging import Judging
from uce.evaluation.scores import accuracy_note
from uce.evaluation.settings import OURS, EvaluationSettings, resolve
from uce.many.engine import Engine
from uce.many.question import merged

METHODS = ("default", "paper", "random-masks", "lower-bound")
QUICK_METHODS = ("default", "random-masks", "lower-bound")
QUICK = {"limit": 4, "count": 2, "steps": 10, "set": ("optimizer.steps=40",)}
"""What `--quick` stands for: minutes on two cores with `mini`. Numbers that small sets give are not worth quoting."""


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark: rows for tables, and what each method did on each picture."""

    path: Path
    rows: list[Row]
    found: list[Measured]
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
    prompts: str | Path | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = lambda text: None,
    progress: Progress = tell_nobody,
    **options: Unpack[ModelOptions],
) -> Benchmark:
    """Extraction and evaluation of several methods over a set of pictures.

    Args:
        out: the folder; runs go to out/runs/METHOD/PICTURE.
        pictures: "validation" (default), "test", or a folder; `truth`, `limit`, `label` as in `read_pictures`.
        objects: compose `per_kind` scenes of every kind from these objects' pictures instead.
        methods, methods_file: as in `parse_methods`; none: default, paper, random-masks, lower-bound.
        encoder, set, count, prompt, prompts, steps, guidance: as in `uce.evaluate`; `set` also takes every setting of a
            run, for all methods.
        quick: few pictures, few steps, unless given otherwise.
        masks_only: localise only, and compare masks with the truth.
        report, progress: as in `uce.evaluate`.
        resume: go on; methods, pictures and encoders may be added. overwrite: begin anew.
        options: `model`, `seed`, `device`, `precision`, `plugin`, `no_plugin`, `observers`, as `uce.run`.

    Raises:
        UceError: whatever is at fault, before anything is run.
    """
    folder = BenchmarkFolder(Path(out))
    stored = folder.open(resume=resume, overwrite=overwrite)
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
    drawing = {"count": count, "prompt": prompt, "prompts": prompts, "steps": steps, "guidance": guidance}
    run_set = {"run.samples": 0, **without(common, *OURS)}
    shared = Options.of({**options, "set": run_set})
    manager = shared.manager()
    names = [encoder] if isinstance(encoder, str) else list(encoder)
    chosen, draw = resolve(manager, names, section_of(common, *OURS), drawing)
    configs = _configs(chosen_methods, manager, shared, masks_only)
    judging = None if masks_only else Judging.of(chosen, draw, shared.device, shared.plugin, progress)
    source = _pictures(folder.path, pictures, truth, objects, per_kind, limit, label)
    _check_pictures(source, chosen_methods, masks_only)
    results = {(row["cell"], row["picture"]): row for row in (stored or {}).get("results", [])}
    after = None if judging is None else judging.draw
    engine = Engine(manager, configs, source.subjects, folder.run, masks_only, results, after=after)
    engine.load()
    facts = _facts(chosen_methods, shared, source, masks_only)
    _begin(folder, stored, facts, draw, overwrite)
    about = {"model": str(shared.model or "mini"), "seed": str(shared.seed or 0)}
    about["settings of all methods"] = " ".join(_recorded(run_set))
    plan = Comparison(folder, source, tuple(chosen_methods), engine, about, judging)
    run_all(plan, report)
    return _finish(plan, measure_all(plan, report))


def _without_drawing(names: Sequence[str], masks_only: bool) -> list[str]:
    return [name for name in names if not (masks_only and name == "lower-bound")]


def _configs(methods: Sequence[Method], manager: Manager, shared: Options, masks_only: bool) -> dict[str, Config]:
    """Every configuration, resolved, so that a misspelt name does not show after hours."""
    found = {}
    for method in methods:
        if method.base is not None and masks_only:
            raise ConfigError(f"--methods: {method.name} needs tokens, which --masks-only does not learn; leave it out")
        if method.base is not None:
            continue
        try:
            found[method.name] = shared.resolve(manager, base=method.document)
        except (ConfigError, PluginError) as error:
            raise type(error)(f"method {method.name}: {error}") from error
    return found


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
    if masks_only and source.subjects[0].truth_folder is None:
        raise ConfigError("--masks-only compares masks with the truth; say where it is with --truth FOLDER")
    if len(source.subjects) < 2 and any(method.base for method in methods):
        raise ConfigError("the lower bound shows another picture's tokens and needs at least 2 pictures; leave it out")
    for subject in source.subjects:
        subject.check()


def _facts(methods: Sequence[Method], shared: Options, source: PictureSet, masks_only: bool) -> dict[str, Any]:
    """What is asked, as benchmark.json remembers it."""
    given = {key: getattr(shared, key) for key in ("plugin", "no_plugin", "model", "seed", "precision", "set")}
    options = {key: value for key, value in given.items() if value not in (None, (), [])}
    return {
        "options": {key: _recorded(value) for key, value in options.items()},
        "masks_only": masks_only,
        "methods": {method.name: dict(method.document) for method in methods if method.base is None},
        "pictures": {s.name: hashlib.sha256(Path(str(s.source)).read_bytes()).hexdigest() for s in source.subjects},
    }


def _recorded(value: Any) -> Any:
    """A value as benchmark.json keeps it."""
    if hasattr(value, "fingerprint"):  # a model that is loaded already
        return str(value.model)
    if isinstance(value, Mapping):
        return [f"{key}={one if isinstance(one, str) else json.dumps(one)}" for key, one in value.items()]
    return list(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _begin(
    folder: BenchmarkFolder,
    stored: Mapping[str, Any] | None,
    facts: dict[str, Any],
    draw: EvaluationSettings,
    overwrite: bool,
) -> None:
    """Write what is to be done, or check that it is what was begun."""
    folder.sweep()
    if stored is not None:
        facts = {**merged(stored, facts, folder.path, fixed=("options",)), "results": stored.get("results", [])}
    elif overwrite:
        folder.clear()
    start = {"format": folder.FORMAT, "status": "running", "command": command_line(), "started": now()}
    folder.write({**start, "versions": versions(), **facts, "evaluation": draw.model_dump(mode="json")})


def _finish(plan: Comparison, found: list[Measured]) -> Benchmark:
    rows = make_rows(found)
    notes = []
    for row in rows:
        note = None if plan.judging is None or row.label != "all" else accuracy_note(row.prototypes)
        if note is not None:
            notes.append(f"{row.method}: {note}")
    for method in plan.own:
        failed = {s.name: plan.result(method, s) for s in plan.pictures.subjects}
        empty = [name for name, result in failed.items() if result.get("empty")]
        broken = [name for name, result in failed.items() if result["status"] == "failed" and name not in empty]
        if empty:
            listed = f"{len(empty)} pictures ({', '.join(empty)})"
            notes.append(f"{method.name} found nothing in {listed}; masks count as missed")
        if broken:
            notes.append(f"{method.name} failed on {', '.join(broken)}; its means are over the others")
    notes += [] if plan.judging is None else plan.judging.notes
    reports.write_tables(plan, rows, found, notes)
    document = plan.folder.read()
    table = {"facts": reports.facts(plan), "rows": [reports.row_record(row) for row in rows], "notes": notes}
    bleed = reports.bleed_record(found)
    plan.folder.write({**document, "status": "done", "finished": now(), **table, "bleed": bleed})
    return Benchmark(plan.folder.path, rows, found, notes)
