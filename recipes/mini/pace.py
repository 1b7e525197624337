"""How fast a training run learns, and when it ends: by a number of updates, or by the clock."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 60  # updates


@dataclass(frozen=True)
class Pace:
    """Learning rate over a run: warm-up, constant, then a straight line to a fiftieth.

    Attributes:
        rate: the highest rate.
        cool: share of the run over which the rate falls.
        steps: updates of the run; with `minutes` there is no such limit.
        minutes: length of the run, for a machine that is lent for a time; 0 counts updates.
    """

    rate: float
    cool: float
    steps: int
    minutes: float = 0.0

    def done(self, step: int, seconds: float) -> float:
        """Share of the run that is over after `step` updates in `seconds`."""
        return seconds / (60 * self.minutes) if self.minutes else step / self.steps

    def at(self, step: int, seconds: float) -> float:
        """The rate of the next update."""
        left = (1 - self.done(step, seconds)) / max(self.cool, 1e-6)
        return self.rate * min(1.0, (step + 1) / WARM_UP) * min(1.0, max(0.02, left))
