"""Sets of pictures: those that ship with uce, anybody's folder, or composed on the spot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.errors import ConfigError, unknown_name
from uce.core.files.formats import SUFFIXES
from uce.many.subjects import Subject

SCENES = Path(__file__).parent / "scenes"
SHIPPED = ("validation", "test")


@dataclass(frozen=True)
class PictureSet:
    """Pictures, and what the user called them."""

    origin: str
    subjects: tuple[Subject, ...]


def read_pictures(
    source: str | Path, truth: str | Path | None = None, limit: int | None = None, labels: Sequence[str] = ()
) -> PictureSet:
    """A set of pictures.

    Args:
        source: "validation" or "test" (scenes that ship with uce), or a folder of pictures. Its `truth/`, if there is
            one, is the truth; its `index.json` gives labels: {"scenes": [{"name": "a", "labels": ["overlap"]}]}.
        truth: another folder of truth.
        limit: at most so many, spread evenly over the set.
        labels: only pictures with one of these.

    Raises:
        ConfigError: no such folder, no pictures in it, two of one name, or an unknown label.
    """
    folder = SCENES / str(source) if str(source) in SHIPPED else Path(source)
    if not folder.is_dir():
        raise ConfigError(
            f"--pictures {source}: there is no such folder; give a folder of pictures, or one of {', '.join(SHIPPED)}"
        )
    named, below = _labels(folder), folder / "truth"
    where = Path(truth) if truth is not None else below if below.is_dir() else None
    entries = [
        Subject(path.stem, path, where, named.get(path.stem, ()))
        for path in sorted(folder.iterdir(), key=lambda path: _order(path.stem, named))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not entries:
        raise ConfigError(f"--pictures {source}: the folder holds no picture; allowed: {', '.join(SUFFIXES)}")
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--pictures {source}: two pictures are called {name!r}; rename one of them")
    known = {label for entry in entries for label in entry.labels}
    for label in labels:
        if label not in known:
            raise ConfigError("--label: " + unknown_name("label", label, known))
    if labels:
        entries = [entry for entry in entries if set(entry.labels) & set(labels)]
    if limit is not None and limit < len(entries):
        entries = [entries[i] for i in np.linspace(0, len(entries) - 1, limit).round().astype(int)]
    return PictureSet(str(source), tuple(entries))


def _order(name: str, named: dict[str, tuple[str, ...]]) -> tuple[int, str]:
    """As the index lists them, then by name."""
    return (list(named).index(name) if name in named else len(named)), name


def _labels(folder: Path) -> dict[str, tuple[str, ...]]:
    path = folder / "index.json"
    if not path.is_file():
        return {}
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return {str(row["name"]): tuple(map(str, row.get("labels", []))) for row in document["scenes"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{path} is not readable ({error!r}); write {{"scenes": [{{"name": "a", "labels": ["overlap"]}}]}}, or '
            "remove it"
        ) from error


def compose_pictures(objects: str | Path, split: str, per_kind: int, out: Path) -> None:
    """Compose scenes of held-out objects (see docs/evaluate.md).

    Raises:
        ConfigError: the split is neither "validation" nor "test", or the folder holds too few objects.
    """
    from uce.scenes.objects import list_objects
    from uce.scenes.sets import write_scenes

    if split not in SHIPPED:
        raise ConfigError(
            f"--objects composes scenes of one split; give --pictures validation or test, found {split!r}"
        )
    folder = Path(objects)
    count = len(list_objects(folder, split)) if folder.is_dir() else 0  # type: ignore[arg-type]
    if count < 10:
        raise ConfigError(
            f"--objects {objects}: found {count} {split} objects; give the folder package/assets of the npm package "
            "@lobehub/fluent-emoji-3d"
        )
    write_scenes(folder, out, split, per_kind)  # type: ignore[arg-type]
