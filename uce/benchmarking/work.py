"""One method on one picture: run it once, remember what came of it, measure it.

Legend: K concepts of one run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uce import api
from uce.benchmarking.methods import Method
from uce.benchmarking.pictures import Entry, PictureSet
from uce.benchmarking.table import Outcome
from uce.core.errors import PluginError, RunFolderError, StageInputError
from uce.core.files.writing import write_json
from uce.core.flow.picture import load_rgb
from uce.core.model.encoder import Encoder
from uce.core.work.held import Run
from uce.evaluation.evaluate import MASK_KEYS, mask_scores
from uce.evaluation.pictures import draw_pictures, gather
from uce.evaluation.scores import RunFeatures, RunScores, another_runs_tokens, encode_run, score_runs
from uce.evaluation.settings import EvaluationSettings
from uce.truth.reading import read_truth
from uce.truth.scoring import score_masks

Report = Callable[[str], None]
MASKS = "masks"  # stands in the place of an encoder's name where there is none


@dataclass(frozen=True)
class Plan:
    """A checked benchmark.

    Attributes:
        out: its folder.
        options: keyword arguments of `uce.run` that hold for every method.
        draw: what is drawn for the evaluation.
        masks_only: stages one to three, and the masks' numbers alone.
    """

    out: Path
    pictures: PictureSet
    methods: tuple[Method, ...]
    options: Mapping[str, Any]
    draw: EvaluationSettings
    masks_only: bool = False
    device: str | None = None
    plugin: Sequence[str] = ()

    @property
    def own(self) -> list[Method]:
        """Methods with runs of their own."""
        return [method for method in self.methods if method.base is None]

    def run_path(self, method: Method, entry: Entry) -> Path:
        return self.out / "runs" / (method.base or method.name) / entry.name

    def failure_path(self, method: Method, entry: Entry) -> Path:
        return self.out / "runs" / (method.base or method.name) / f"{entry.name}.failed.json"

    def config_path(self, method: Method) -> Path:
        return self.out / "methods" / f"{method.name}.yaml"


def do_run(plan: Plan, method: Method, entry: Entry) -> str:
    """Make the run, or find it finished; draw its pictures. A picture in which the method finds nothing is a result.

    Returns:
        what happened, for people.
    """
    path, failure = plan.run_path(method, entry), plan.failure_path(method, entry)
    run = finished(plan, path)
    if run is None and failure.is_file():
        return "failed before"
    before = run is not None
    if run is None:
        begun = (path / "config.yaml").is_file()
        options = {key: plan.options[key] for key in ("plugin", "no_plugin", "observers")} if begun else plan.options
        config: dict[str, Any] = {} if begun else {"config": plan.config_path(method)}
        try:
            if plan.masks_only:
                api.localize(entry.path, path, resume=True, **config, **options)
            else:
                api.run(entry.path, path, resume=True, **config, **options)
        except (StageInputError, PluginError) as error:
            write_json(failure, {"error": str(error)})
            return f"failed: {error}"
        run = api.load(path)
    if not plan.masks_only:
        draw_pictures(run, plan.draw, plan.device, plan.plugin)
    return f"{len(run)} concepts" + (", kept from before" if before else f", {seconds(run):.0f} s")


def finished(plan: Plan, path: Path) -> Run | None:
    """The run in `path`, if it is as far as the benchmark needs it."""
    if not (path / "run.json").is_file():
        return None
    try:
        run = api.load(path)
    except RunFolderError:  # killed before it found anything
        return None
    wanted = ("done", "localized") if plan.masks_only else ("done",)
    return run if run.info.get("status") in wanted else None


def seconds(run: Run) -> float:
    """Wall time of the stages, without drawing."""
    return float(sum(row["seconds"] for row in run.info.get("stages", []) if row["stage"] != "samples"))


def measure(plan: Plan, encoders: Mapping[str, Encoder], report: Report) -> list[Outcome]:
    """Every method's numbers on every picture, encoder by encoder."""
    outcomes: list[Outcome] = []
    for name, encoder in encoders.items():
        report(f"encoder {name}: {encoder.description}")
        features = {method.name: _features(plan, method, encoder) for method in plan.own}
        for method in plan.methods:
            outcomes += _outcomes(plan, method, name, features[method.base or method.name])
    if not encoders:
        for method in plan.own:
            outcomes += _outcomes(plan, method, MASKS, {})
    return outcomes


def _features(plan: Plan, method: Method, encoder: Encoder) -> dict[str, RunFeatures]:
    found = {}
    for entry in plan.pictures.entries:
        run = finished(plan, plan.run_path(method, entry))
        if run is not None:
            found[entry.name] = encode_run(encoder, gather(run, plan.draw, plan.device, plan.plugin))
    return found


def _outcomes(plan: Plan, method: Method, encoder: str, features: Mapping[str, RunFeatures]) -> list[Outcome]:
    names, rows = list(features), list(features.values())
    if method.base is not None and len(rows) > 1:
        rows = another_runs_tokens(rows)
    scores = dict(zip(names, score_runs(rows), strict=True)) if rows else {}
    return [_outcome(plan, method, encoder, entry, scores.get(entry.name)) for entry in plan.pictures.entries]


def _outcome(plan: Plan, method: Method, encoder: str, entry: Entry, scores: RunScores | None) -> Outcome:
    run = finished(plan, plan.run_path(method, entry))
    values: dict[str, tuple[float, int]] = {}
    if scores is not None:
        values["sim_i"] = float(scores.sim_i.sum()), len(scores.sim_i)
        values["sim_c"] = scores.sim_c, 1
        for key in ("acc_1", "acc_3"):
            row = getattr(scores, key)
            if row is not None:
                values[key] = float(row.sum()), len(row)
    if method.base is None:
        values |= _mask_values(plan, entry, run)
        if run is not None:
            values["seconds"] = seconds(run), 1
    error = None if run is not None else _error(plan.failure_path(method, entry))
    return Outcome(method.name, encoder, entry.name, entry.labels, 0 if run is None else len(run), values, error)


def _mask_values(plan: Plan, entry: Entry, run: Run | None) -> dict[str, tuple[float, int]]:
    """The masks' agreement with the truth; where nothing was found, everything is missed."""
    truth = plan.pictures.truth
    if truth is None:
        return {}
    if run is None:
        height, width = load_rgb(entry.path).shape[:2]
        true = read_truth(truth, entry.name, (height, width))
        found = score_masks(np.zeros((0, height, width), np.bool_), true)
    else:
        found = mask_scores(run, truth)
    values = {key: (float(getattr(found, key)), 1) for key in MASK_KEYS}
    return {**values, "exact_count": (float(found.count_error == 0), 1)}


def _error(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return "no run"
