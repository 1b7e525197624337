"""Every configuration on every picture: models loaded once, what is finished kept, failures of single ones survived."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uce.core.errors import UceError
from uce.core.flow.configuration import Config
from uce.core.registry.manager import Manager
from uce.core.runs.folder import RunFolder
from uce.core.work.attempts import attempt, reason
from uce.core.work.cache import SharedStore
from uce.core.work.held import Run
from uce.core.work.models import backbone_for, settle_micro_batch
from uce.core.work.opening import open_work, stage_rows
from uce.core.work.pipeline import Work
from uce.core.work.worker import begun_alike, finished_status
from uce.many.subjects import Subject

Result = dict[str, Any]
"""What became of one configuration on one picture: "cell", "picture", "status" ("done", "localized" or "failed"),
"folder", "stages" (rows of run.json), and of a failure "error" and "empty" (it worked, and found nothing)."""


@dataclass(frozen=True)
class Ended:
    """A result, what it took now, and whether it was there before."""

    result: Result
    seconds: float = 0.0
    earlier: bool = False


@dataclass
class Engine:
    """Configurations, pictures, and what became of them.

    Attributes:
        configs: by name, in the order of the tables. Those that leave the micro-batch open get one as they are run.
        place: (name, picture) -> the run folder.
        results: by (name, picture), of earlier starts too.
        cache: where runs share results of stages; None: each keeps its own.
        after: what else each finished run needs, such as pictures drawn from its tokens.
    """

    manager: Manager
    configs: dict[str, Config]
    subjects: Sequence[Subject]
    place: Callable[[str, str], RunFolder]
    localize_only: bool
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    cache: Path | None = None
    after: Callable[[Run], None] | None = None

    def load(self) -> None:
        """Load the model where all have the same: where it cannot be, nothing is to be written.

        Raises:
            ModelError: so it is.
        """
        if len({_model_key(config) for config in self.configs.values()}) == 1:
            backbone_for(self.manager, next(iter(self.configs.values())))

    def jobs(self) -> Iterator[tuple[str, Subject]]:
        """Model by model, so that each is loaded once; then picture by picture, so that shared results stay near, and
        what is there after an interruption compares."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        for name, config in self.configs.items():
            groups.setdefault(_model_key(config), []).append(name)
        for names in groups.values():
            for subject in self.subjects:
                yield from ((name, subject) for name in names)

    def do(self, name: str, subject: Subject) -> Ended:
        """Finish one configuration on one picture; whatever is wrong with it becomes a result with "error"."""
        earlier = self.earlier(name, subject)
        ended = self._try(name, subject) if earlier is None else Ended(earlier, earlier=True)
        if self.after is not None and ended.result["status"] != "failed":
            after, run = self.after, Run(self.place(name, subject.name))
            error = reason(lambda: after(run), run.path)
            if error is not None:
                ended = Ended({**ended.result, "status": "failed", "error": error}, ended.seconds)
        self.results[name, subject.name] = ended.result
        return ended

    def _try(self, name: str, subject: Subject) -> Ended:
        run = self.place(name, subject.name)

        def begin() -> Work:
            config, original = self._settled(name), subject.original
            continued = begun_alike(run, config.to_dict(), subject.facts[0])
            shared = None if self.cache is None else SharedStore(self.cache, f"{subject.name}/{name}")
            return open_work(
                self.manager, config, original, subject.file, run, continued=continued, overwrite=True, shared=shared
            )

        ended = attempt(begin, run.path, localize_only=self.localize_only)
        stages: list[dict[str, Any]] = []
        if ended.work is not None:
            with suppress(UceError):  # somebody removed the folder meanwhile, which `error` says
                stages = stage_rows(ended.work)
        result = self._result(name, subject, ended.status, stages)
        if ended.error is not None:
            result |= {"error": ended.error, "empty": ended.empty}
        return Ended(result, ended.seconds)

    def earlier(self, name: str, subject: Subject) -> Result | None:
        """What became of it before, where that is still true: its run is finished, or the method found nothing."""
        run, known = self.place(name, subject.name), self.results.get((name, subject.name))
        status = finished_status(run, self.localize_only)
        if status is None:
            return known if known is not None and known.get("empty") else None
        if known is not None and known["status"] == status:
            return known
        return self._result(name, subject, status, run.read_run().get("stages", []))  # killed between the two

    def _result(self, name: str, subject: Subject, status: str, stages: Sequence[Mapping[str, Any]]) -> Result:
        path = self.place(name, subject.name).path
        folder = path.relative_to(path.parents[2]).as_posix()
        return {"cell": name, "picture": subject.name, "status": status, "stages": list(stages), "folder": folder}

    def ordered(self) -> list[Result]:
        """The results, configuration by configuration, pictures in order, whatever order they were worked on."""
        order = [(name, subject.name) for name in self.configs for subject in self.subjects]
        return [self.results[key] for key in order if key in self.results]

    def _settled(self, name: str) -> Config:
        """The configuration with the micro-batch that all of its model share.

        On a GPU it depends on the memory that is free; were it chosen for every run anew, their sums and so the keys
        of shared results could differ.
        """
        config = self.configs[name]
        if config.run.micro_batch:
            return config
        alike = {name: other for name, other in self.configs.items() if _model_key(other) == _model_key(config)}
        earlier = (other.run.micro_batch for other in alike.values() if other.run.micro_batch)
        settled = next(earlier, 0) or settle_micro_batch(config, backbone_for(self.manager, config)).run.micro_batch
        self.configs.update({name: with_micro_batch(other, settled) for name, other in alike.items()})
        return self.configs[name]


def _model_key(config: Config) -> tuple[Any, ...]:
    return config.model, config.run.device, config.run.precision


def with_micro_batch(config: Config, number: int) -> Config:
    """The configuration with this micro-batch, unless it has one."""
    if config.run.micro_batch:
        return config
    return dataclasses.replace(config, run=config.run.model_copy(update={"micro_batch": number}))
