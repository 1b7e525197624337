"""Tables of plain text, as wide as their cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uce.evaluation.metrics import HEADS


def _table(first: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """A table with one row per name; columns that no row has are left out. Never cut, whatever the width."""
    keys = [key for key in HEADS if any(values.get(key) is not None for _, values in rows)]
    lines = [[first, *(HEADS[key] for key in keys)]]
    for name, values in rows:
        cells = [values.get(key) for key in keys]
        lines.append([name, *("" if cell is None else f"{cell:.3f}" for cell in cells)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for name, *line in lines:
        cells_text = "".join(f"  {cell:>{width}}" for cell, width in zip(line, widths[1:], strict=True))
        print(f"{name:<{widths[0]}}{cells_text}".rstrip())


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their cells: nothing is cut, also where the terminal is narrow or a pipe."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
