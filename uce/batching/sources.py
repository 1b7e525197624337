"""What the user named, as single pictures with their own options."""

from __future__ import annotations

import csv
import glob
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uce.core.config.assigned import parse_chain
from uce.core.errors import ConfigError, ImageError, unknown_name
from uce.core.files.datasets import is_row, is_saved, list_rows
from uce.core.files.documents import parse_json, parse_yaml, shown
from uce.core.files.formats import SUFFIXES as PICTURES
from uce.core.files.urls import find_urls, is_url, read_url
from uce.core.flow.stages import SINGLE_STAGES

LISTS = (".txt", ".csv", ".tsv", ".jsonl")
TABLES = (".parquet",)
COLUMNS = ("image", "name", "seed", "concepts", "names", *SINGLE_STAGES, "refiner")
log = logging.getLogger(__name__)
_SETTING = re.compile(r"(extractor|foreground|clusterer|refiner|initializer|optimizer|run)(\.[A-Za-z0-9_-]+){1,2}")
_FOR_ALL = ("run.device", "run.precision", "run.threads", "run.micro_batch")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")


@dataclass(frozen=True)
class Entry:
    """One picture of a batch.

    Attributes:
        source: an absolute path, a URL, or the row of a data set (`uce.core.files.datasets`).
        asked: the name that a list gives it.
        options: keyword arguments of `Options` that are its own.
    """

    source: str
    asked: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Equal where the same is asked for."""
        return json.dumps([self.source, self.asked, self.options], sort_keys=True)


def read_sources(sources: Iterable[str | Path]) -> list[Entry]:
    """Every picture that is meant, in order, each once.

    Args:
        sources: pictures, folders (and what is below them), patterns, lists, or URLs of any of these; data sets that
            `datasets` saved, and Parquet files with pictures in them.

    Raises:
        ConfigError: a source that is not there or stands for no picture, or a line of a list that is not understood.
    """
    found = {entry.identity: entry for source in sources for entry in _entries(str(source))}
    if not found:
        raise ConfigError("there is no picture to work on; give at least one")
    return list(found.values())


def _entries(source: str) -> Iterator[Entry]:
    if is_row(source):  # as an index names it
        yield Entry(source)
        return
    for name in find_urls(source) if is_url(source) else _paths(source):
        if name.lower().endswith(LISTS):
            yield from _read_list(name)
        elif not is_url(name) and (name.lower().endswith(TABLES) or is_saved(Path(name))):
            yield from map(Entry, list_rows(Path(name)))
        else:
            yield Entry(name)


def _paths(source: str) -> list[str]:
    """Absolute paths that one argument stands for."""
    try:
        return _found_paths(source)
    except (OSError, ValueError) as error:  # a name that is too long, or holds what no name may hold
        raise ConfigError(f"{source[:200]!r} cannot be looked up ({error}); give another name") from error


def _found_paths(source: str) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = [path] if is_saved(path) else _inside(path, PICTURES) or _inside(path, TABLES)
        if not found:
            raise ConfigError(
                f"the folder {source} holds no picture ({', '.join(PICTURES)}) and no data set; give another"
            )
    elif path.exists():
        found = [path]
    elif any(letter in source for letter in "*?["):
        found = [file for file in map(Path, sorted(glob.glob(source, recursive=True))) if file.is_file()]  # noqa: PTH207
        if not found:
            raise ConfigError(f"no file matches {source}; check the pattern, and quote it if the shell expands it")
    else:
        raise ConfigError(f"{source} does not exist; give a picture, a folder, a pattern, a list or a URL")
    return [str(file.absolute()) for file in found]


def _inside(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files in a folder and below it, hidden ones left out."""
    inside = sorted(file for file in folder.rglob("*") if file.is_file())
    shown = [file for file in inside if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    wanted = [file for file in shown if file.suffix.lower() in suffixes]
    if wanted and len(wanted) < len(shown):
        skipped = [str(file.relative_to(folder)) for file in shown if file.suffix.lower() not in suffixes]
        log.warning(
            "%d of %d files in %s are left out, since their names end in nothing that is read here: %s%s",
            len(skipped), len(shown), folder, ", ".join(skipped[:5]), ", ..." if len(skipped) > 5 else "",
        )  # fmt: skip
    return wanted


def _read_list(name: str) -> Iterator[Entry]:
    """The pictures of a list; relative paths start from the list's own folder."""
    try:
        data = read_url(name) if is_url(name) else Path(name).read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, ValueError, ImageError) as error:
        raise ConfigError(f"the list {name} is not readable ({error}); give UTF-8 text") from error
    reader = {".txt": _text_rows, ".jsonl": _json_rows}.get(name[name.rindex(".") :].lower(), _csv_rows)
    for where, row in reader(text, name):
        row = _plain(row)
        if not isinstance(row.get("image"), str) or not row["image"].strip():
            raise ConfigError(f"{where}: there is no image; give each line one, in the column or key 'image'")
        image = row["image"].strip()
        if not is_row(image) and not is_url(image):
            base = name.rpartition("/")[0]
            image = f"{base}/{image}" if is_url(name) else str((Path(name).parent / image).absolute())
        asked = row.get("name")
        if asked is not None and (not isinstance(asked, str) or not _NAME.fullmatch(asked)):
            raise ConfigError(
                f"{where}: the name {shown(asked)} is not allowed; use small letters, digits, '-' and '_', at most 80"
            )
        yield Entry(image, asked, _options(row, where))


_Rows = Iterator[tuple[str, dict[str, Any]]]


_IMAGE = ("image", "file_name")
_INDEX = re.compile(r"(Unnamed: \d+)?")
"""What pandas calls the column in which it keeps its rows' numbers."""


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without pandas' index and without cells that hold nothing; `file_name` (as in a folder of pictures with
    metadata) is the image."""
    found = {}
    for key, value in row.items():
        empty = value is None or value != value or (isinstance(value, str) and value.strip() in ("", "nan", "NaN"))
        if not empty and not _INDEX.fullmatch(key):
            found[key] = value
    if "image" not in found and "file_name" in found:
        found["image"] = found.pop("file_name")
    return found


def _text_rows(text: str, name: str) -> _Rows:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{name}, line {number}", {"image": line}


def _csv_rows(text: str, name: str) -> _Rows:
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if name.lower().endswith(".tsv") else ",", strict=True)
    try:
        if not set(_IMAGE) & set(reader.fieldnames or ()):
            raise ConfigError(f"{name}: its first line must name the columns, 'image' among them")
        for row in reader:
            where = f"{name}, line {reader.line_num}"
            if None in row:
                raise ConfigError(f"{where}: there are more values than columns; quote values that hold commas")
            yield where, {key: value for key, value in row.items() if value is not None and value.strip()}
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num}: not readable as CSV ({error})") from error


def _json_rows(text: str, name: str) -> _Rows:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where}: not readable as JSON ({error})") from error
        row = {"image": row} if isinstance(row, str) else row
        if not isinstance(row, dict):
            raise ConfigError(f'{where}: give an object such as {{"image": "a.png", "seed": 3}}')
        yield where, {key: value for key, value in row.items() if value is not None}


def _options(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row's own options: texts of a CSV as the command line takes them, values of JSON as they are."""
    options: dict[str, Any] = {}
    for key, value in row.items():
        if _SETTING.fullmatch(key) and key not in _FOR_ALL:
            options.setdefault("set", {})[key] = _yaml(value, f"{where}: {key}") if isinstance(value, str) else value
        elif key == "seed":
            options[key] = _number(value, f"{where}: seed")
        elif key == "concepts":
            options[key] = [_number(part, f"{where}: concepts") for part in _parts(value)]
        elif key == "names":
            options[key] = [str(part) for part in _parts(value)]
        elif key == "refiner":
            options[key] = parse_chain(value if isinstance(value, str) else _parts(value), f"{where}: refiner")
        elif key in COLUMNS:
            if key not in ("image", "name"):
                options[key] = str(value)
        else:
            known = [*COLUMNS, "optimizer.steps"]
            hint = " It holds for the whole batch: give it on the command line." if key in _FOR_ALL else ""
            raise ConfigError(f"{where}: {unknown_name('key', str(key), known)}{hint} Settings are stage.key")
    return options


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value if isinstance(value, list) else [value]


def _number(value: Any, where: str) -> int:
    try:
        number = int(value) if isinstance(value, int | str) else -1
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise ConfigError(f"{where}: found {shown(value)}, give a whole number from 0")
    return number


def _yaml(text: str, where: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{where}: the value {text[:200]!r} is not readable as YAML; quote it") from error
