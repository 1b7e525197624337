"""Listens to a run and tells its job how far it is; draws samples on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uce.core.flow.events import Enough
from uce.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from uce.core.flow.events import RunFinished, RunStarted, StageFinished, StageStarted, Step
    from uce.ui.jobs import Job

STAGE_TEXT = {
    "extractor": "looking at the picture",
    "foreground": "telling things from the background",
    "clusterer": "finding what belongs together",
    "refiner": "cleaning the outlines",
    "initializer": "preparing the words",
    "optimizer": "learning the words",
    "samples": "drawing samples",
}
STAGE_SHARE = {"extractor": 0.05, "foreground": 0.55, "clusterer": 0.6, "refiner": 0.75, "initializer": 0.02,
               "optimizer": 0.04, "samples": 0.9}  # fmt: skip
"""How much of a job is done when a stage begins."""
LEARNED = 0.9
SAMPLE_AT = (0.04, 0.15, 0.4, 0.7)
"""Shares of the updates after which a sample of every token is drawn."""
SAMPLE_STEPS, MAX_SAMPLES = 10, 4


class Watcher:
    """An observer that belongs to one job. It never changes a result; raising `Cancelled` ends the run.

    Args:
        sample: draw on the way.
        titles: token -> what people call its thing.
        enough: end the training after its next update, with what is learned then.
    """

    def __init__(
        self, job: Job, *, sample: bool = True, enough: bool = False, titles: Mapping[str, str] | None = None
    ) -> None:
        self.job, self.enough, self.titles = job, enough, titles or {}
        self.due = list(SAMPLE_AT) if sample and not enough else []
        self.total = 0
        self._first: tuple[int, float] | None = None
        self.backbone: Any = None

    @hookimpl
    def uce_run_started(self, event: RunStarted) -> None:
        self.backbone = event.backbone

    @hookimpl
    def uce_stage_started(self, event: StageStarted) -> None:
        self.job.check()
        stage = event.stage.partition("-")[0]
        self.job.note = STAGE_TEXT.get(stage, stage)
        self.job.share, self.job.left = max(self.job.share, STAGE_SHARE.get(stage, 0.0)), None

    @hookimpl
    def uce_stage_finished(self, event: StageFinished) -> None:
        self.job.check()

    @hookimpl
    def uce_step(self, event: Step) -> None:
        self.total = event.total
        done = event.update / max(1, event.total)
        begin = STAGE_SHARE["optimizer"]
        self.job.share = begin + (LEARNED - begin) * done
        self.job.note = f"update {event.update} of {event.total}"
        total = event.losses.get("total", next(iter(event.losses.values()), None))
        if total is not None:
            self.job.losses.append((event.update, float(total)))
        self.job.left = self._left(event)
        self.job.check()
        if self.enough:
            raise Enough
        if self.due and done >= self.due[0]:
            self.due = [share for share in self.due if share > done]
            self._draw_samples(event)

    def _left(self, event: Step) -> float | None:
        """Seconds until the last update, at the speed so far; None at the first one."""
        now = time.monotonic()
        if self._first is None:
            self._first, self.due = (event.update, now), [s for s in self.due if s * event.total >= event.update]
            return None
        update, begun = self._first
        return (now - begun) / (event.update - update) * (event.total - event.update)

    @hookimpl
    def uce_run_finished(self, event: RunFinished) -> None:
        self.job.note = ""

    def _draw_samples(self, event: Step) -> None:
        """One picture of each of the first few tokens; what goes wrong here must not cost the run."""
        if event.tokens is None:
            return
        from uce.ui.pictures import address

        started = time.perf_counter()
        tokens = event.tokens()
        for token in list(tokens)[:MAX_SAMPLES]:
            self.job.check()
            try:
                pictures = self.backbone.generate([f"a photo of {token}"], tokens, seeds=[0], steps=SAMPLE_STEPS)
            except Exception:
                self.due = []
                return
            self.job.samples.append((address(pictures[0]), f"{self.titles.get(token, token)}, after {event.update}"))
        if time.perf_counter() - started > 60:  # a large model on a slow machine: rather learn than draw
            self.due = []
