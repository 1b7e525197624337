"""Pictures in a data set's rows: folders that Hugging Face's `datasets` saved, and Parquet files.

A row is named by a source of its own, `dataset://FOLDER_OR_FILE#COLUMN/SPLIT-ROW`, so that it crosses to workers as
text and one row is read at a time. Pictures are read as the bytes that were saved, through the same checks as any file.
"""

from __future__ import annotations

import functools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uce.core.errors import ConfigError, ImageError, PluginError
from uce.core.files.pictures import RgbArray, load_rgb, rgb_of_bytes
from uce.core.files.urls import is_url

PREFIX = "dataset://"
WHOLE = "row"
"""What stands in the place of a split's name where there are no splits."""

_SOURCE = re.compile(r"dataset://(?P<path>.+)#(?P<column>[^#]+)/(?P<split>[^#/]+)-(?P<row>\d+)", re.DOTALL)
_SAVED = ("dataset_dict.json", "state.json")


def is_row(source: str) -> bool:
    """Whether `source` names a row of a data set."""
    return source.startswith(PREFIX)


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a data set here with `save_to_disk`."""
    return any((folder / name).is_file() for name in _SAVED)


def list_rows(path: Path) -> Iterator[str]:
    """The sources of every row: of a folder that `save_to_disk` wrote, or of a Parquet file.

    Raises:
        ConfigError: not readable, or no single column of pictures.
        PluginError: the library for it is not installed.
    """
    for split, rows in _parts(path).items():
        column = _picture_column(rows.pictures, str(path) if len(_parts(path)) == 1 else f"{path}, split {split}")
        yield from (f"{PREFIX}{path}#{column}/{split}-{number}" for number in range(rows.count))


def read_row(source: str) -> RgbArray:
    """The picture that `source` names, uint8 (H, W, 3).

    Raises:
        ImageError: there is no such row, or no readable picture in it.
        ConfigError, PluginError: as `list_rows`.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise ImageError(f"{source} names no row; give the data set's folder and let uce batch name its rows")
    path, number = Path(match["path"]), int(match["row"])
    if not path.exists():
        raise ImageError(f"{source}: {path} does not exist; check the path")
    part = _parts(path).get(match["split"])
    if part is None or number >= part.count or match["column"] not in part.pictures:
        raise ImageError(f"{source}: there is no such row any more; has {path} been changed?")
    value = part.read(number, match["column"])
    if isinstance(value, bytes):
        return rgb_of_bytes(value, source)
    value = {"path": value} if isinstance(value, str) else value or {}
    if value.get("bytes"):
        return rgb_of_bytes(value["bytes"], source)
    name = value.get("path")
    if not name:
        raise ImageError(f"{source} holds no picture: the row is empty")
    if is_url(name):
        raise ImageError(f"{source} names {name} and holds no picture; save the data set with its pictures in it")
    return load_rgb((path if path.is_dir() else path.parent) / name)


class _Rows(ABC):
    """One split. `pictures`: the columns that hold pictures. `count`: how many rows."""

    pictures: Sequence[str]
    count: int

    @abstractmethod
    def read(self, number: int, column: str) -> Any:
        """The file's content as bytes, or {"bytes", "path"}."""


class _SavedRows(_Rows):
    """A `datasets.Dataset`; it maps its files into memory and reads what is asked for."""

    def __init__(self, dataset: Any) -> None:
        from datasets import Image

        self.pictures = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
        for name in self.pictures:
            dataset = dataset.cast_column(name, Image(decode=False))
        self.dataset, self.count = dataset.with_format(None), len(dataset)

    def read(self, number: int, column: str) -> Any:
        return self.dataset.select_columns([column])[number][column]


class _ParquetRows(_Rows):
    """A Parquet file, of which a group of rows is held in memory at a time."""

    def __init__(self, file: Any) -> None:
        self.file, self.count = file, file.metadata.num_rows
        self.pictures = _parquet_pictures(file.schema_arrow)
        self.group: tuple[int, str, Any] | None = None

    def read(self, number: int, column: str) -> Any:
        index, row = 0, number
        while row >= (size := self.file.metadata.row_group(index).num_rows):
            index, row = index + 1, row - size
        if self.group is None or self.group[:2] != (index, column):
            self.group = index, column, self.file.read_row_group(index, columns=[column])[column]
        return self.group[2][row].as_py()


def _parquet_pictures(schema: Any) -> list[str]:
    """Columns that `datasets` calls pictures; else those with its layout, or bytes under a name that says so."""
    import pyarrow as pa

    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, feature in features.items() if feature.get("_type") == "Image"]
    except (KeyError, ValueError, TypeError, AttributeError):
        pass
    found = []
    for field in schema:
        binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        layout = pa.types.is_struct(field.type) and {part.name for part in field.type} == {"bytes", "path"}
        known = field.name.lower() in ("image", "img", "picture", "png", "jpg", "jpeg", "webp")
        if layout or (binary and known) or (text and (known or field.name.lower() in ("file_name", "path"))):
            found.append(field.name)
    return found


def _picture_column(found: Sequence[str], where: str) -> str:
    """The one column to read; "image" where there are several.

    Raises:
        ConfigError: there is none, or no telling which.
    """
    if len(found) == 1 or "image" in found:
        return "image" if "image" in found else found[0]
    if not found:
        raise ConfigError(f"{where} has no column of pictures; give a data set with a column of type Image")
    raise ConfigError(f"{where} has several columns of pictures: {', '.join(found)}; call the one to use 'image'")


@functools.lru_cache(maxsize=4)
def _parts(path: Path) -> dict[str, _Rows]:
    """The splits of what lies at `path`; opened once, since a worker reads many of its rows."""
    if path.is_dir():
        return _saved_parts(path)
    return {re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem): _ParquetRows(_open_parquet(path))}


def _saved_parts(path: Path) -> dict[str, _Rows]:
    try:
        from datasets import load_from_disk
    except ImportError as error:
        raise PluginError(
            f"{path} is a data set that Hugging Face's datasets saved, and that is not installed ({error}); install it "
            "with pip install 'uce-concepts[datasets]'"
        ) from error
    try:
        found = load_from_disk(str(path))
        splits = found if isinstance(found, dict) else {WHOLE: found}
        return {str(name): _SavedRows(dataset) for name, dataset in splits.items()}
    except Exception as error:  # whatever the library makes of a damaged folder
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"the data set {path} is not readable ({cause}); save it again with save_to_disk") from error


def _open_parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise PluginError(
            f"{path} needs pyarrow, which is not installed ({error}); install it with pip install 'uce-concepts[batch]'"
        ) from error
    try:
        return pq.ParquetFile(path)
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"{path} is not readable as Parquet ({cause}); write it again") from error
