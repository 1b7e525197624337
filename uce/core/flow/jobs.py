"""What a batch hands to its workers and gets back. All of it is plain values, to cross to other processes as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class _Text:
    """Values that turn into one line of text and back."""

    def to_text(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True)

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Assignment(_Text):
    """What holds for every picture of a batch.

    Attributes:
        folder: the batch's folder, absolute.
        token: names this start of the batch; a worker of an earlier start finds another one there and stops.
        config: the resolved configuration, threads and micro-batch decided.
        localize_only: stages one to three only.
        plugin, no_plugin: as the driver was told.
    """

    folder: str
    token: str
    config: Mapping[str, Any]
    localize_only: bool = False
    plugin: Sequence[str] = ()
    no_plugin: Sequence[str] = ()

    @property
    def threads(self) -> int:
        """CPU threads of one worker."""
        return int(self.config["run"]["threads"])

    @property
    def device(self) -> str:
        return str(self.config["run"]["device"])


@dataclass(frozen=True)
class Job(_Text):
    """One picture to work on.

    Attributes:
        name: of its folder under runs/.
        source: an absolute path, or a URL.
        options: keyword arguments of `uce.core.config.options.Options` that are this picture's own.
    """

    name: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome(_Text):
    """How a job ended.

    Attributes:
        name: the job's.
        status: "done", "localized" or "failed".
        error: what went wrong, in one sentence.
        empty: the method worked and found no concept.
        seconds: what the stages took.
        attempts: how often it was begun, counting workers that died over it.
    """

    name: str
    status: str
    error: str | None = None
    empty: bool = False
    seconds: float = 0.0
    attempts: int = 1


def lost(job: Job, attempts: int, cause: str) -> Outcome:
    """The outcome of a job whose worker died every time."""
    times = "once" if attempts == 1 else f"{attempts} times"
    text = f"its worker died {times} ({cause}); memory may be short: use fewer workers, or a smaller run.micro_batch"
    return Outcome(job.name, "failed", text, attempts=attempts)
