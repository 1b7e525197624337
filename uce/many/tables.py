"""Tables of numbers as people read them, and as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uce.evaluation.metrics import HEADS

LOWER_IS_BETTER = ("count_error", "seconds")


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        heads: column titles; the first `num_keys` say which row it is.
        rows: a text per column.
        best: (row, column) of what is marked.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_keys: int
    best: frozenset[tuple[int, int]] = frozenset()

    def markdown(self) -> str:
        """Numbers to the right, what is marked in bold."""
        align = [":--" if column < self.num_keys else "--:" for column in range(len(self.heads))]
        lines = [[escaped(head) for head in self.heads], align]
        for number, row in enumerate(self.rows):
            texts = [escaped(text) for text in row]
            lines.append([f"**{t}**" if (number, c) in self.best else t for c, t in enumerate(texts)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """A text that means nothing in Markdown and HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def csv_text(records: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> str:
    """One line per record; columns in the order given, or in that of their first appearance."""
    names = list(names or dict.fromkeys(name for record in records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    for record in records:
        writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in record.items()})
    return buffer.getvalue()


def head_of(column: str) -> str:
    """ "seconds.extractor" -> "extractor (s)", "loss.total" -> "loss total"."""
    kind, _, name = column.partition(".")
    return {"seconds": f"{name} (s)", "loss": f"loss {name}"}.get(kind, "") if name else HEADS.get(column, column)


def text_of(column: str, value: float | None) -> str:
    """A measure in as many digits as people compare."""
    if value is None:
        return ""
    if column == "share":
        return f"{value:.1%}"
    if column in ("concepts", "count_error"):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if column.startswith("seconds."):
        return f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return f"{value:.3g}" if column.startswith("loss.") else f"{value:.3f}"


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
