"""Listens to a run and tells its job how far it is; draws samples on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from uce.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from uce.core.flow.events import RunFinished, RunStarted, StageFinished, StageStarted, Step
    from uce.ui.jobs import Job

STAGE_TEXT = {
    "extractor": "looking at the picture",
    "clusterer": "finding what belongs together",
    "refiner": "cleaning the outlines",
    "initializer": "preparing the words",
    "optimizer": "learning the words",
    "samples": "drawing samples",
}
STAGE_SHARE = {"extractor": 0.05, "clusterer": 0.6, "refiner": 0.75, "initializer": 0.02, "optimizer": 0.04,
               "samples": 0.9}  # fmt: skip
"""How much of a job is done when a stage begins."""
LEARNED = 0.9
SAMPLE_AT = (0.04, 0.15, 0.4, 0.7)
"""Shares of the updates after which a sample of every token is drawn."""
SAMPLE_STEPS, MAX_SAMPLES = 10, 4


class Watcher:
    """An observer that belongs to one job. It never changes a result; raising `Cancelled` ends the run."""

    def __init__(self, job: Job, sample: bool = True) -> None:
        self.job = job
        self.due = list(SAMPLE_AT) if sample else []
        self.backbone: Any = None

    @hookimpl
    def uce_run_started(self, event: RunStarted) -> None:
        self.backbone = event.backbone

    @hookimpl
    def uce_stage_started(self, event: StageStarted) -> None:
        self.job.check()
        stage = event.stage.partition("-")[0]
        self.job.note = STAGE_TEXT.get(stage, stage)
        self.job.share = max(self.job.share, STAGE_SHARE.get(stage, 0.0))

    @hookimpl
    def uce_stage_finished(self, event: StageFinished) -> None:
        self.job.check()

    @hookimpl
    def uce_step(self, event: Step) -> None:
        self.job.check()
        done = event.update / max(1, event.total)
        begin = STAGE_SHARE["optimizer"]
        self.job.share = begin + (LEARNED - begin) * done
        self.job.note = f"update {event.update} of {event.total}"
        total = event.losses.get("total", next(iter(event.losses.values()), None))
        if total is not None:
            self.job.losses.append((event.update, float(total)))
        if self.due and done >= self.due[0]:
            self.due = [share for share in self.due if share > done]
            self._draw_samples(event)

    @hookimpl
    def uce_run_finished(self, event: RunFinished) -> None:
        self.job.note = ""

    def _draw_samples(self, event: Step) -> None:
        """One picture of each of the first few tokens; what goes wrong here must not cost the run."""
        if event.tokens is None:
            return
        started = time.perf_counter()
        tokens = event.tokens()
        for token in list(tokens)[:MAX_SAMPLES]:
            self.job.check()
            try:
                pictures = self.backbone.generate([f"a photo of {token}"], tokens, seeds=[0], steps=SAMPLE_STEPS)
            except Exception:
                self.due = []
                return
            self.job.samples.append((pictures[0], f"{token.strip('<>')}, after {event.update}"))
        if time.perf_counter() - started > 60:  # a large model on a slow machine: rather learn than draw
            self.due = []
