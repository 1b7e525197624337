"""What a method did on a picture, measured.

Legend: K concepts of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from uce.benchmarking.folder import BenchmarkFolder
from uce.benchmarking.methods import Method
from uce.benchmarking.pictures import PictureSet
from uce.benchmarking.table import Measured
from uce.core.files.writing import write_text
from uce.core.work.held import Run
from uce.evaluation.judging import Judging
from uce.evaluation.scores import RunFeatures, another_runs_tokens
from uce.many.engine import Engine, Result
from uce.many.likeness import bleed_of, likeness
from uce.many.measures import Measures, measure_run
from uce.many.subjects import Subject

Report = Callable[[str], None]
MASKS = "masks"  # stands in the place of an encoder's name where there is none


@dataclass(frozen=True)
class Comparison:
    """A checked benchmark.

    Attributes:
        engine: the runs of the methods that have some.
        about: what holds for every method, as people read it.
        judging: how tokens are compared; None where masks alone are.
    """

    folder: BenchmarkFolder
    pictures: PictureSet
    methods: tuple[Method, ...]
    engine: Engine
    about: Mapping[str, str]
    judging: Judging | None

    @property
    def own(self) -> list[Method]:
        """Methods with runs of their own."""
        return [method for method in self.methods if method.base is None]

    def result(self, method: Method, subject: Subject) -> Result:
        return self.engine.results[method.base or method.name, subject.name]

    def run(self, method: Method, subject: Subject) -> Run | None:
        """The run whose tokens and masks are measured; None where there is none."""
        name = method.base or method.name
        failed = self.result(method, subject)["status"] == "failed"
        return None if failed else Run(self.folder.run(name, subject.name))


def run_all(plan: Comparison, report: Report) -> None:
    """Make every run and draw its pictures, or find them; a picture in which nothing is found is a result."""
    for method in plan.own:
        write_text(plan.folder.config_path(method), yaml.safe_dump(dict(method.document), sort_keys=False))
    jobs, document = list(plan.engine.jobs()), plan.folder.read()
    methods = {method.name: method for method in plan.own}
    for number, (name, subject) in enumerate(jobs, start=1):
        report(f"[{number}/{len(jobs)}] {name} on {subject.name} ...")
        ended = plan.engine.do(name, subject)
        plan.folder.write({**document, "results": plan.engine.ordered()})
        run = plan.run(methods[name], subject)
        if run is None:
            said = "failed before" if ended.earlier else f"failed: {ended.result['error']}"
        else:
            said = f"{len(run)} concepts, " + (
                "kept from before" if ended.earlier else f"{seconds(ended.result):.0f} s"
            )
        report(f"[{number}/{len(jobs)}] {name} on {subject.name}: {said}")


def seconds(result: Result) -> float:
    """Wall time of the stages, without drawing."""
    return float(sum(row["seconds"] for row in result["stages"] if row["stage"] != "samples"))


def measure_all(plan: Comparison, report: Report) -> list[Measured]:
    """Every method's numbers on every picture, encoder by encoder."""
    masks = {method.name: [_masks(plan, method, subject) for subject in plan.pictures.subjects] for method in plan.own}
    found: list[Measured] = []
    encoders = {} if plan.judging is None else plan.judging.encoders
    for name, encoder in encoders.items():
        report(f"encoder {name}: {encoder.description}")
    seen = {method.name: _see(plan, method) for method in plan.own} if encoders else {}
    for name in encoders:
        for method in plan.methods:
            features = {subject: one[name] for subject, one in seen[method.base or method.name].items()}
            found += _measured(plan, method, name, masks, features)
    if not encoders:
        for method in plan.own:
            found += _measured(plan, method, MASKS, masks, {})
    return found


def _see(plan: Comparison, method: Method) -> dict[str, dict[str, RunFeatures]]:
    """Picture -> encoder -> what it sees of the method's run there."""
    assert plan.judging is not None
    runs = {subject.name: plan.run(method, subject) for subject in plan.pictures.subjects}
    return {name: plan.judging.see(run) for name, run in runs.items() if run is not None}


def _measured(
    plan: Comparison,
    method: Method,
    encoder: str,
    masks: Mapping[str, Sequence[Measures]],
    features: Mapping[str, RunFeatures],
) -> list[Measured]:
    if method.base is not None and len(features) > 1:
        features = dict(zip(features, another_runs_tokens(list(features.values())), strict=True))
    scores = likeness(features)
    found = []
    for number, subject in enumerate(plan.pictures.subjects):
        result, run = plan.result(method, subject), plan.run(method, subject)
        values: Measures = {"concepts": 0 if run is None else len(run)}
        values |= scores.get(subject.name, {})
        if method.base is None:
            values |= masks[method.name][number]
        bleed = bleed_of(features[subject.name]) if subject.name in features else None
        found.append(Measured(method.name, encoder, subject.name, subject.labels, values, result.get("error"), bleed))
    return found


def _masks(plan: Comparison, method: Method, subject: Subject) -> Measures:
    """The masks' agreement with the truth, and the time; where nothing was found, everything is missed."""
    result = plan.result(method, subject)
    folder = plan.folder.run(method.name, subject.name)
    found = measure_run(folder, result["stages"], subject.truth, result.get("empty", False))
    if result["status"] != "failed":
        found["seconds"] = seconds(result)
    return found
