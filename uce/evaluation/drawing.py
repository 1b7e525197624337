"""Pictures drawn from a run's tokens: each prompt and seed once, kept in the run's folder for every measure.

What is missing is drawn a few pictures at a time, over all prompts, so that an interruption costs little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uce import api
from uce.core.files.formats import open_picture
from uce.core.files.pictures import RgbArray
from uce.core.files.writing import write_bytes, write_picture
from uce.core.work.held import Run
from uce.evaluation.settings import EvaluationSettings

FOLDER = "evaluation"
BATCH = 8
"""Pictures asked for at once, and lost where drawing is interrupted."""

Progress = Callable[[int, int], None]
"""Hears how many of the missing pictures are drawn, and how many they are."""


def tell_nobody(done: int, total: int) -> None:
    """A progress that nobody looks at."""


@dataclass(frozen=True)
class Wanted:
    """Pictures of one prompt.

    Attributes:
        stem: how their files' names begin.
        prompt: what the model is asked, tokens in place.
        count: how many, from the settings' seed on.
    """

    stem: str
    prompt: str
    count: int


@dataclass(frozen=True, eq=False)
class Drawer:
    """Draws what a run's folder does not hold yet.

    Attributes:
        digest: what the pictures depend on beside the prompt and the settings; see `tokens_digest`.
        device, plugin: for drawing, as `uce.run`.
    """

    run: Run
    settings: EvaluationSettings
    digest: str
    device: str | None = None
    plugin: Sequence[str] = ()

    def paths(self, wanted: Wanted) -> list[Path]:
        """Where the pictures are kept, seed by seed."""
        facts = f"{self.digest}/{wanted.prompt}/{self.settings.steps}/{self.settings.guidance}"
        key = hashlib.sha256(facts.encode()).hexdigest()[:10]
        seeds = range(self.settings.seed, self.settings.seed + wanted.count)
        return [self.run.path / FOLDER / f"{wanted.stem}-s{seed}-{key}.png" for seed in seeds]

    def draw(self, sets: Sequence[Wanted], progress: Progress = tell_nobody) -> None:
        """Draw what is missing, or damaged, of these."""
        missing = self._missing(sets)
        done = 0
        if missing:
            progress(done, len(missing))
        for prompts, seed, count in _portions(list(missing)):
            drawn = api.draw(
                prompts,
                self.run,
                count=count,
                seed=seed,
                steps=self.settings.steps,
                guidance=self.settings.guidance,
                device=self.device,
                plugin=self.plugin,
            )
            pairs = [(prompt, seed + number) for prompt in prompts for number in range(count)]
            for pair, picture in zip(pairs, drawn.pictures, strict=True):
                for path in missing[pair]:
                    write_picture(path, picture)
            done += len(pairs)
            progress(done, len(missing))

    def _missing(self, sets: Sequence[Wanted]) -> dict[tuple[str, int], list[Path]]:
        """(prompt, seed) -> the files that lack it; those of a picture that lies under another name are written."""
        lacking: dict[tuple[str, int], list[Path]] = {}
        there: dict[tuple[str, int], Path] = {}
        for wanted in sets:
            for seed, path in enumerate(self.paths(wanted), start=self.settings.seed):
                if read_kept(path) is None:
                    lacking.setdefault((wanted.prompt, seed), []).append(path)
                else:
                    there[wanted.prompt, seed] = path
        for pair in lacking.keys() & there.keys():
            for path in lacking.pop(pair):
                write_bytes(path, there[pair].read_bytes())
        return lacking

    def read(self, wanted: Wanted) -> list[RgbArray]:
        """The pictures of one prompt, after `draw`."""
        return [picture for path in self.paths(wanted) if (picture := read_kept(path)) is not None]


def read_kept(path: Path) -> RgbArray | None:
    """A kept picture; None where there is none, or it is damaged."""
    try:
        with open_picture(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None


def _portions(missing: Sequence[tuple[str, int]]) -> Iterator[tuple[list[str], int, int]]:
    """(prompts, first seed, count): every missing (prompt, seed) once, at most `BATCH` at a time.

    Prompts that lack the same seeds are asked for together.
    """
    lacking: dict[str, list[int]] = {}
    for prompt, seed in missing:
        lacking.setdefault(prompt, []).append(seed)
    alike: dict[tuple[int, int], list[str]] = {}
    for prompt, seeds in lacking.items():
        for stretch in _stretches(seeds):
            alike.setdefault(stretch, []).append(prompt)
    for (start, count), prompts in alike.items():
        for first in range(start, start + count, BATCH):
            size = min(BATCH, start + count - first)
            together = max(1, BATCH // size)
            for number in range(0, len(prompts), together):
                yield prompts[number : number + together], first, size


def _stretches(seeds: Sequence[int]) -> list[tuple[int, int]]:
    """(first, count) of every run of consecutive seeds."""
    found: list[tuple[int, int]] = []
    for seed in sorted(seeds):
        if found and seed == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((seed, 1))
    return found
