"""Which concepts of several runs are one thing: what `--same cup=A:0,B:2` says, looked through before anything is done.

A folder is called in it as it was given, or by its last part where no other given folder has the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uce.core.config.assigned import plain
from uce.core.errors import ConfigError, RunFolderError, unknown_name
from uce.core.files.documents import shown
from uce.core.files.paths import typed_path
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredConcept, StoredRun
from uce.core.runs.token_names import token_stem

Same = str | Sequence[str] | Mapping[str, Mapping[str, int]]
"""["cup=A:0,B:2"] or {"cup": {"A": 0, "B": 2}}."""
FORM = "write NAME=FOLDER:NUMBER,FOLDER:NUMBER, such as cup=A:0,B:2"


Places = dict[str, dict[int, StoredConcept]]
"""Token -> (number of the run -> the concept there)."""


@dataclass(frozen=True, eq=False)
class Things:
    """Things that are seen in several pictures.

    Attributes:
        runs: the picture that shows every thing first, then the others as they were given.
        places: where each thing is, by number in `runs`.
    """

    runs: tuple[StoredRun, ...]
    places: Places

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(self.places)

    def shown(self, number: int) -> dict[str, StoredConcept]:
        """The things of one run."""
        return {token: places[number] for token, places in self.places.items() if number in places}


def read_things(folders: Sequence[str | Path], same: Same) -> Things:
    """The runs that are named, and what is the same in them.

    Raises:
        ConfigError: a folder or a concept that is not there or is named twice, a name that is not allowed, runs of
            different models, or no picture that shows all things.
        RunFolderError: a folder is no run's, or has no picture.
    """
    labels = [str(folder) for folder in folders]
    runs = [StoredRun(RunFolder(Path(folder))) for folder in folders]
    for run in runs:
        require_source(run)
    require_different(runs, labels)
    require_one_model(runs, labels)
    places: Places = {}
    for token, said in _read(same).items():
        numbers = {labels.index(label): number for label, number in _resolved(token, said, labels).items()}
        places[token] = {n: _concept(runs[n], labels[n], token, number) for n, number in numbers.items()}
    _require_used_once(places, labels)
    first = next((n for n in range(len(runs)) if all(n in seen for seen in places.values())), None)
    if first is None:
        raise ConfigError(_no_common(places, labels))
    order = [first, *(n for n in range(len(runs)) if n != first)]
    ordered = {token: {order.index(n): one for n, one in seen.items()} for token, seen in places.items()}
    return Things(tuple(runs[n] for n in order), ordered)


def require_source(run: StoredRun) -> None:
    """Refuse a run without a picture or concepts.

    Raises:
        RunFolderError: the folder is no run's, unfinished, or holds imported tokens.
    """
    path = run.path
    if run.info.get("input") is None:
        raise RunFolderError(
            f"{path} holds imported tokens and no picture; give folders that uce run or uce localize wrote"
        )
    if not run.concepts:
        raise RunFolderError(f"{path} holds no concepts; run again with --overwrite")


def require_different(runs: Sequence[StoredRun], labels: Sequence[str]) -> None:
    """Refuse a folder, or a picture, that is given twice."""
    seen: dict[object, str] = {}
    for run, label in zip(runs, labels, strict=True):
        for what, key in (("folder", run.path.resolve()), ("picture", (run.info["input"] or {}).get("digest"))):
            if key in seen and what == "folder":
                raise ConfigError(f"{label} is given twice; name each folder once")
            if key is not None and key in seen:
                raise ConfigError(f"{label} and {seen[key]} are runs of the same picture; give different pictures")
        seen |= {run.path.resolve(): label, run.info["input"].get("digest"): label}


def require_one_model(runs: Sequence[StoredRun], labels: Sequence[str]) -> None:
    """Refuse runs of different models: a token lives in one."""
    models = [run.info.get("model") or {} for run in runs]
    for label, model in zip(labels, models, strict=True):
        if model.get("fingerprint") != models[0].get("fingerprint"):
            raise ConfigError(
                f"{labels[0]} was made with the model {models[0].get('name')} and {label} with {model.get('name')}, "
                "which are not the same; run one of the pictures again with the other's --model"
            )


def _read(same: Same) -> dict[str, list[tuple[str, int]]]:
    """Token -> what is said of it."""
    said: dict[str, list[tuple[str, int]]] = {}
    if isinstance(same, Mapping):
        rows = [
            (str(name), [(str(label), plain(n)) for label, n in places.items()] if isinstance(places, Mapping) else [])
            for name, places in same.items()
        ]
    else:
        rows = [_parsed(text) for text in ([same] if isinstance(same, str) else same)]
    for name, places in rows:
        token = f"<{name.strip().removeprefix('<').removesuffix('>')}>"
        token_stem(token)
        if token in said:
            raise ConfigError(f"--same {name} is given twice; put all its places into one, such as {name}=A:0,B:2")
        if not places or not all(type(number) is int for _, number in places):
            raise ConfigError(f"--same {name}: {shown(same)} names no concepts; {FORM}")
        said[token] = places
    if not said:
        raise ConfigError(f"--same names nothing; {FORM}, or ask uce match")
    return said


def _parsed(text: str) -> tuple[str, list[tuple[str, int]]]:
    name, sign, rest = str(text).partition("=")
    places = [part.strip().rpartition(":") for part in rest.split(",")]
    if not sign or not all(label and number.strip().isdecimal() for label, _, number in places):
        raise ConfigError(f"--same {text}: {FORM}")
    return name.strip(), [(label, int(number)) for label, _, number in places]


def _resolved(token: str, places: Sequence[tuple[str, int]], labels: Sequence[str]) -> dict[str, int]:
    """Folder as it was given -> number of the concept."""
    found: dict[str, int] = {}
    for label, number in places:
        full = _full(token, label, labels)
        if full in found:
            raise ConfigError(f"--same {token[1:-1]} names {label} twice; a thing stands in one place of a picture")
        found[full] = number
    return found


def _full(token: str, label: str, labels: Sequence[str]) -> str:
    """The folder that is called `label`."""
    if label in labels:
        return label
    named = [one for one in labels if Path(one) == Path(label)] or [one for one in labels if Path(one).name == label]
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError(f"--same {token[1:-1]}: {label} may be {' or '.join(named)}; write the folder as it is given")
    raise ConfigError(f"--same {token[1:-1]}: {unknown_name('folder', label, list(labels))}")


def _concept(run: StoredRun, label: str, token: str, number: int) -> StoredConcept:
    for concept in run.concepts:
        if concept.index == number:
            return concept
    found = ", ".join(str(concept.index) for concept in run.concepts)
    raise ConfigError(f"--same {token[1:-1]}: {label} has no concept {number}; found {found}")


def _require_used_once(places: Places, labels: Sequence[str]) -> None:
    """Refuse a concept that two things claim, and a folder of which no thing is."""
    for number, label in enumerate(labels):
        owners: dict[int, str] = {}
        for token, index in ((t, seen[number].index) for t, seen in places.items() if number in seen):
            if index in owners:
                raise ConfigError(
                    f"--same: concept {index} of {label} is both {owners[index]} and {token}; give it to one of them"
                )
            owners[index] = token
        if not owners:
            raise ConfigError(f"{label} is given and no --same names it; name one of its concepts, or leave it out")


def _no_common(places: Places, labels: Sequence[str]) -> str:
    """What to do where no picture shows all things: one command for each."""
    commands = [
        learn_command([labels[n] for n in seen], {token: {labels[n]: one.index for n, one in seen.items()}})
        for token, seen in places.items()
    ]
    names = ", ".join(token[1:-1] for token in places)
    return f"no picture shows all of {names}: they cannot be learned together; learn each alone: {'; '.join(commands)}"


def learn_command(folders: Sequence[str], places: Mapping[str, Mapping[str, int]], out: str = "DIR") -> str:
    """The line that learns things from several pictures.

    Args:
        places: token, or its name -> (folder -> number).
    """
    same = [
        "--same " + shlex.quote(f"{name.strip('<>')}={','.join(f'{folder}:{k}' for folder, k in seen.items())}")
        for name, seen in places.items()
    ]
    return " ".join(["uce learn", *map(typed_path, map(Path, folders)), *same, "-o", out])
