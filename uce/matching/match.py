"""Several runs in; which of their concepts are the same thing, and the command that learns each as one.

Legend: R runs; K concepts of a run; A, B concepts of two runs; D width of the features.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.api import load
from uce.core.config.keywords import Names, public
from uce.core.errors import ConfigError
from uce.core.files.pictures import RgbArray, load_rgb
from uce.core.files.writing import write_picture
from uce.core.work.held import Run
from uce.core.work.models import my_turn
from uce.core.work.same import learn_command, require_different, require_one_model, require_source
from uce.matching.features import concept_features, likeness
from uce.matching.pairing import Pair, assign, joined, learnable
from uce.matching.sheet import confirm_sheet

THRESHOLD = 0.875
"""Least score of a pair; chosen on composed scenes of validation objects (benchmarks/matching.py)."""


@dataclass(frozen=True, eq=False)
class Match:
    """Concepts of several runs that are proposed to be one thing.

    Attributes:
        name: what its token could be called.
        places: folder as it was given -> the concept there.
        score: of its weakest pair, at most 1.
    """

    name: str
    places: Mapping[str, int]
    score: float


@dataclass(frozen=True, eq=False)
class Matches:
    """What `uce match` found.

    Attributes:
        folders: the runs, as they were given.
        things: those that two runs or more show, in the order in which the first run has them.
        pairs: (folder, concept, folder, concept, score) of every pair of runs.
        threshold: the least score of a pair.
        picture: the file of cut-outs side by side, where one was written.
    """

    folders: list[str]
    things: list[Match]
    pairs: list[tuple[str, int, str, int, float]]
    threshold: float
    picture: Path | None = None

    @property
    def same(self) -> dict[str, dict[str, int]]:
        """What `uce.learn(folders, same=..., out=...)` takes."""
        return {thing.name: dict(thing.places) for thing in self.things}

    @property
    def commands(self) -> list[str]:
        """The lines that learn the things: one, or several where no picture shows all of them."""
        numbers = {thing.name: {self.folders.index(f): k for f, k in thing.places.items()} for thing in self.things}
        groups, same = [*learnable(numbers)], self.same
        lines = []
        for number, names in enumerate(groups):
            places = {name: same[name] for name in names}
            folders = [folder for folder in self.folders if any(folder in seen for seen in places.values())]
            lines.append(learn_command(folders, places, "together" if len(groups) == 1 else f"together-{number}"))
        return lines

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        keys = ("folder", "concept", "other_folder", "other_concept", "score")
        return {
            "runs": self.folders,
            "things": [{"name": t.name, "places": dict(t.places), "score": t.score} for t in self.things],
            "pairs": [dict(zip(keys, pair, strict=True)) for pair in self.pairs],
            "threshold": self.threshold,
            "commands": self.commands,
            "picture": None if self.picture is None else str(self.picture),
        }


@public
def match(
    runs: Sequence[str | Path | Run],
    out: str | Path | None = None,
    *,
    threshold: float = THRESHOLD,
    device: str | None = None,
    plugin: Names = (),
) -> Matches:
    """Propose which concepts of several runs are the same thing, by what their model sees in them.

    Args:
        runs: two run folders or more, of one model; their masks are taken as they lie there.
        out: a picture to write: the cut-outs of every proposed thing side by side.
        threshold: least score of a pair, from -1 to 1; higher proposes fewer and surer ones.
        device, plugin: where the model works, and what it needs to load.

    Raises:
        UceError: fewer than two runs, a folder twice, runs of different models or without a picture.
    """
    given = [run if isinstance(run, Run) else load(run) for run in runs]
    folders = [str(run.path if isinstance(run, Run) else run) for run in runs]
    if len(given) < 2:
        raise ConfigError(f"uce match compares runs, found {len(given)}; give two folders or more that uce run wrote")
    if not -1 <= threshold <= 1:
        raise ConfigError(f"threshold must be from -1 to 1, found {threshold}")
    for run in given:
        require_source(run)
    require_different(given, folders)
    require_one_model(given, folders)
    with my_turn():
        backbone = given[0].backbone(device, plugin)
        features = [concept_features(backbone, *_shown(run)) for run in given]
    pairs = []
    for left, right in itertools.combinations(range(len(given)), 2):
        scores = likeness(features[left], features[right])
        pairs += [Pair((left, a), (right, b), float(scores[a, b])) for a, b in assign(scores, threshold)]
    found = _things(given, folders, pairs)
    listed = [_listed(given, folders, pair) for pair in pairs]
    path = None if out is None else Path(out)
    if path is not None:
        write_picture(path, _sheet(given, folders, found))
    return Matches(folders, found, listed, threshold, path)


def _shown(run: Run) -> tuple[RgbArray, list[Any]]:
    return load_rgb(run.path / "input.png"), [concept.mask for concept in run.concepts]


def _listed(runs: Sequence[Run], folders: Sequence[str], pair: Pair) -> tuple[str, int, str, int, float]:
    (left, a), (right, b) = pair.left, pair.right
    numbers = runs[left].concepts[a].index, runs[right].concepts[b].index
    return folders[left], numbers[0], folders[right], numbers[1], round(pair.score, 4)


def _things(runs: Sequence[Run], folders: Sequence[str], pairs: Sequence[Pair]) -> list[Match]:
    found: list[Match] = []
    for thing in joined(pairs):
        inside = [pair.score for pair in pairs if {pair.left, pair.right} <= set(thing.items())]
        name = _name([runs[run].concepts[row].token for run, row in thing.items()], {match.name for match in found})
        places = {folders[run]: runs[run].concepts[row].index for run, row in thing.items()}
        found.append(Match(name, places, round(min(inside), 4)))
    return found


def _name(tokens: Sequence[str], taken: set[str]) -> str:
    """A name that somebody chose for it in one of the runs, or "thing0"."""
    chosen = (token[1:-1] for token in tokens if not token[1:-1].removeprefix("asset").isdecimal())
    free = (f"thing{number}" for number in itertools.count())
    return next(name for name in itertools.chain(chosen, free) if name not in taken)


def _sheet(runs: Sequence[Run], folders: Sequence[str], things: Sequence[Match]) -> Any:
    concepts = {(f, c.index): c for f, run in zip(folders, runs, strict=True) for c in run.concepts}
    rows = [(f"{t.name}, score {t.score:.2f}", [(f, concepts[f, k]) for f, k in t.places.items()]) for t in things]
    placed = {place for thing in things for place in thing.places.items()}
    return confirm_sheet(rows, [(place[0], concept) for place, concept in concepts.items() if place not in placed])
