"""Which folder each picture has: derived from its source, never taken from it, and kept as long as the batch lives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.batching.sources import Entry
from uce.core.config.options import differences
from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.documents import parse_json
from uce.core.files.writing import write_text


@dataclass(frozen=True)
class Named:
    """An entry and its folder's name: small letters, digits, '-' and '_' alone."""

    name: str
    entry: Entry


def slug(source: str) -> str:
    """ "/photos/My Cat (1).JPG" -> "my-cat-1": nothing of a source can lead out of a folder."""
    last = source.rstrip("/").replace("\\", "/").rpartition("/")[2]
    stem = last.rpartition(".")[0] or last
    return re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-_")[:60].strip("-_") or "picture"


def give_names(entries: Iterable[Entry], known: Sequence[Named]) -> tuple[list[Named], list[Named]]:
    """Names for all entries; those that were in the batch before keep theirs.

    Returns:
        the entries asked for, in order; and all that the batch knows, earlier ones first.

    Raises:
        ConfigError: a picture was in the batch with other options, or a name is given twice.
    """
    entries = list(entries)
    before = {named.entry.identity: named for named in known}
    asked_for = {entry.identity for entry in entries}
    gone = {_key(named.entry): named for named in known if named.entry.identity not in asked_for}
    taken, numbers = {named.name for named in known}, dict[str, int]()
    found, new = [], []
    for entry in entries:
        named = before.get(entry.identity)
        if named is None:
            if _key(entry) in gone:
                raise ConfigError(_changed(gone[_key(entry)], entry))
            if entry.asked in taken:
                raise ConfigError(f"two pictures are called {entry.asked!r}; give each a name of its own")
            name = entry.asked or _free(slug(entry.source), taken, numbers)
            taken.add(name)
            named = Named(name, entry)
            new.append(named)
        found.append(named)
    return found, [*known, *new]


def _key(entry: Entry) -> tuple[str, str | None]:
    return entry.source, entry.asked


def _free(stem: str, taken: set[str], numbers: dict[str, int]) -> str:
    if stem not in taken:
        return stem
    number = numbers.get(stem, 1) + 1
    while f"{stem}-{number}" in taken:
        number += 1
    numbers[stem] = number
    return f"{stem}-{number}"


def _changed(named: Named, entry: Entry) -> str:
    key, old, new = differences(named.entry.options, entry.options)[0]
    return (
        f"{entry.source} was begun with {key.removeprefix('set.')}={old!r}, now {new!r}; ask for the same, give the "
        "line a name of its own, or start anew with --overwrite"
    )


def write_names(path: Path, all_named: Iterable[Named]) -> None:
    """One line per picture."""
    rows = ({"name": n.name, "source": n.entry.source, "asked": n.entry.asked, "options": n.entry.options}
            for n in all_named)  # fmt: skip
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_names(path: Path) -> list[Named]:
    """What `write_names` wrote; [] where nothing was begun.

    Raises:
        RunFolderError: not readable.
    """
    if not path.is_file():
        return []
    try:
        rows: list[dict[str, Any]] = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found = [Named(row["name"], Entry(row["source"], row["asked"], row["options"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is not readable ({error!r}); begin anew with --overwrite") from error
    for named in found:  # nobody's edit may lead out of the folder
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,79}", named.name):
            raise RunFolderError(f"{path} holds the name {named.name!r}, which is no batch's; begin anew")
    return found
