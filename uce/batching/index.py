"""The index: what became of every picture, as JSON lines and, with pyarrow, as Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from uce.batching.names import Named
from uce.core.errors import RunFolderError
from uce.core.files.documents import parse_json
from uce.core.files.writing import write_bytes, write_text
from uce.core.flow.jobs import Outcome
from uce.core.runs.folder import RunFolder

Row = dict[str, Any]


def row_of(named: Named, outcome: Outcome, folder: RunFolder) -> Row:
    """A picture's line; what its run folder knows comes from there."""
    row: Row = {
        "name": named.name,
        "source": named.entry.source,
        "options": dict(named.entry.options),
        "folder": f"runs/{named.name}",
        "status": outcome.status,
        "error": outcome.error,
        "empty": outcome.empty,
        "concepts": 0,
        "tokens": [],
        "labels": [],
        "seconds": outcome.seconds,
        "attempts": outcome.attempts,
        "width": None,
        "height": None,
        "digest": None,
    }
    if outcome.status == "failed":
        return row
    entries, info = folder.read_concepts()["concepts"], folder.read_run()
    row["seconds"] = round(sum(stage["seconds"] for stage in info["stages"] if not stage.get("reused")), 3)
    row |= {key: info["input"][key] for key in ("width", "height", "digest")}
    row |= {"concepts": len(entries), "tokens": [e["token"] for e in entries], "labels": [e["label"] for e in entries]}
    return row


class Index:
    """The lines of batch.jsonl by name: appended as pictures end, put in order when the batch does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        found = path.read_bytes() if path.is_file() else b""
        whole = []
        for line in found.splitlines(keepends=True):
            try:
                row = parse_json(line)
                self.rows[row["name"]] = row
            except (ValueError, KeyError, TypeError):
                continue  # cut off by a kill: that picture's run folder tells
            whole.append(line if line.endswith(b"\n") else line + b"\n")
        if b"".join(whole) != found:
            write_bytes(path, b"".join(whole))

    def append(self, row: Row) -> None:
        """Add a line; it reaches the disk whole, or is mended by the next start."""
        self.rows[row["name"]] = row
        try:
            with self.path.open("ab") as file:
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunFolderError(
                f"cannot write {self.path}: {error.strerror or error}; free space, then give the same command again"
            ) from error

    def write(self, order: Iterable[str]) -> list[Row]:
        """The whole index in the order of `order`."""
        rows = [self.rows[name] for name in order if name in self.rows]
        write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        write_parquet(self.path.with_suffix(".parquet"), rows)
        return rows


def _utf8(value: Any) -> Any:
    r"""File names that are no UTF-8 as the JSON lines have them, with \udcXX."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def write_parquet(path: Path, rows: Sequence[Row]) -> bool:
    """The same as a Parquet file, `options` as JSON text; False, and no file, where pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        path.unlink(missing_ok=True)  # one of an earlier start would be out of date
        return False
    texts = ("name", "source", "options", "folder", "status", "error", "digest")
    schema = pa.schema(
        [(name, pa.string()) for name in texts]
        + [(name, pa.int64()) for name in ("concepts", "attempts", "width", "height")]
        + [(name, pa.list_(pa.string())) for name in ("tokens", "labels")]
        + [("empty", pa.bool_()), ("seconds", pa.float64())]
    )
    plain = [{**row, "options": json.dumps(row["options"], ensure_ascii=False)} for row in rows]
    plain = [{key: _utf8(value) for key, value in row.items()} for row in plain]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(plain, schema=schema), buffer)
    write_bytes(path, buffer.getvalue().to_pybytes())
    return True
