"""A matrix of shares as a picture that is part of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

CELL, LABEL, TITLE = 34, 74, 16
"""Pixels of a cell's side, of the labels to the left, and of those above."""


def matrix_svg(matrix: Sequence[Sequence[float]], names: Sequence[str], what: str) -> Markup:
    """The matrix with its shares in the cells, the darker the more; rows and columns bear the same names.

    Args:
        matrix: K rows of K shares in [0, 1].
        names: of the K concepts; the columns have their numbers, which stand before the rows' names.
        what: says what is to be seen, for those who cannot see it.
    """
    size = len(matrix)
    width, height = LABEL + size * CELL, TITLE + size * CELL
    parts = "".join(_parts(matrix, names))
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    said = f'role="img" aria-label="{escape(what)}"'
    return Markup(f'<svg class="matrix" {said} {box} font-size="11"><title>{escape(what)}</title>{parts}</svg>')


def _parts(matrix: Sequence[Sequence[float]], names: Sequence[str]) -> Iterator[str]:
    for k, name in enumerate(names):
        middle = k * CELL + CELL / 2
        yield f'<text x="{LABEL + middle}" y="11" text-anchor="middle" fill="currentColor">{k}</text>'
        yield f'<text x="0" y="{TITLE + middle + 4}" fill="currentColor">{k} {escape(_short(name))}</text>'
    for row, shares in enumerate(matrix):
        for column, share in enumerate(shares):
            left, top = LABEL + column * CELL, TITLE + row * CELL
            hue = "34, 120, 70" if row == column else "190, 60, 40"  # what is right, and what bled
            yield (
                f'<rect x="{left}" y="{top}" width="{CELL - 1}" height="{CELL - 1}" fill="rgb({hue})" '
                f'fill-opacity="{0.06 + 0.8 * share:.2f}"/>'
            )
            colour = "white" if share > 0.6 else "currentColor"
            place = f'x="{left + CELL / 2}" y="{top + CELL / 2 + 4}"'
            yield f'<text {place} text-anchor="middle" fill="{colour}">{share:.0%}</text>'


def _short(name: str) -> str:
    name = name.strip("<>")
    return name if len(name) <= 9 else f"{name[:8]}…"
