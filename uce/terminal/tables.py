"""Tables of plain text, as wide as their cells: nothing is cut, also where the terminal is narrow or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uce.evaluation.metrics import HEADS


def text_table(lines: Sequence[Sequence[str]], num_left: int = 1, gap: str = "  ") -> list[str]:
    """Lines whose columns are as wide as they need, the first `num_left` to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        gap.join(
            f"{text:{'<' if column < num_left else '>'}{width}}"
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _table(first: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """A table with one row per name; columns that no row has are left out."""
    keys = [key for key in HEADS if any(values.get(key) is not None for _, values in rows)]
    lines = [[first, *(HEADS[key] for key in keys)]]
    for name, values in rows:
        cells = [values.get(key) for key in keys]
        lines.append([name, *("" if cell is None else f"{cell:.3f}" for cell in cells)])
    print(*text_table(lines), sep="\n")


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(*text_table([head, *rows], len(head), "   "), sep="\n")
