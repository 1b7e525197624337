"""What the tokens of many runs are worth: pictures drawn once and kept, compared with their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from uce.core.config.devices import resolve_device
from uce.core.model.encoder import Encoder
from uce.core.work.held import Run
from uce.evaluation.pictures import draw_pictures, gather
from uce.evaluation.scores import RunFeatures, encode_run, pooled, score_runs
from uce.evaluation.settings import Chosen, EvaluationSettings
from uce.many.measures import LIKENESS, Measures


@dataclass(frozen=True)
class Judging:
    """What is drawn of every run, and who compares it.

    Attributes:
        encoders: by name, loaded.
        device, plugin: for drawing, as `uce.run`.
    """

    settings: EvaluationSettings
    encoders: Mapping[str, Encoder]
    device: str | None = None
    plugin: Sequence[str] = ()

    @classmethod
    def of(
        cls, chosen: Sequence[Chosen], settings: EvaluationSettings, device: str | None, plugin: Sequence[str]
    ) -> Judging:
        """Load the encoders."""
        where = resolve_device(device or "auto")
        return cls(settings, {choice.name: choice.load(where) for choice in chosen}, device, tuple(plugin))

    def draw(self, run: Run) -> None:
        """Draw what is missing in the run's folder."""
        draw_pictures(run, self.settings, self.device, self.plugin)

    def features(self, runs: Mapping[str, Run], encoder: str) -> dict[str, RunFeatures]:
        """What an encoder sees of every run."""
        return {
            name: encode_run(self.encoders[encoder], gather(run, self.settings, self.device, self.plugin))
            for name, run in runs.items()
        }


def likeness(features: Mapping[str, RunFeatures]) -> dict[str, Measures]:
    """SIM^I, SIM^C, ACC^1 and ACC^3 of every run; ACC among the concepts of all of them."""
    if not features:
        return {}
    scores = dict(zip(features, score_runs(list(features.values())), strict=True))
    found = {name: pooled([score]) for name, score in scores.items()}
    return {name: {key: row[key] for key in LIKENESS if row[key] is not None} for name, row in found.items()}
