"""Curves and maps of points as SVG that takes the page's colours and fonts, the same bytes every time.

Matplotlib is imported when a plot is drawn; a page does without the plot where that fails.

Legend: K tokens; V words; d width of a text encoder.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from markupsafe import Markup

Array = np.ndarray[Any, np.dtype[Any]]
_INK, _QUIET, _LINE, _ACCENT = "#010101", "#020202", "#030303", "#040404"  # stand for the page's own colours
_VARIABLES = {_INK: "var(--ink)", _QUIET: "var(--quiet)", _LINE: "var(--line)", _ACCENT: "var(--accent)"}
_MOST_POINTS = 400
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 3)), (0, (2, 2)), (0, (6, 2, 1.5, 2)))
_ONE_AT_A_TIME = threading.Lock()
"""Matplotlib's settings and the filters of warnings are the whole process's."""
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _QUIET,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "text.color": _INK,
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def _drawn(draw: Callable[[Any], None], size: tuple[float, float], name: str) -> Markup:
    """An SVG element whose ids begin with `name`.

    Args:
        draw: draws on the axes it is given.
        size: inches.
    """
    from markupsafe import Markup
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with _ONE_AT_A_TIME, rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that matplotlib's font lacks is drawn by the browser's
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)  # its rules would hit the page
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    head, tail = text.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head).replace("<svg", '<svg aria-hidden="true" focusable="false"')
    text = f"{head}>{tail}"
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    text = re.sub(r"'?DejaVu Sans'?", "system-ui, sans-serif", text)
    return Markup(text)  # matplotlib has escaped what it was given


def loss_plot(name: str, updates: Sequence[float], values: Sequence[float], phases: Sequence[str]) -> Markup:
    """One loss over the updates: its values faint, their running mean strong, a line where the phase changes."""

    def draw(axes: Any) -> None:
        x, y = np.asarray(updates, float), np.asarray(values, float)
        kept = np.isfinite(x) & np.isfinite(y)
        x, y = thinned(x[kept]), thinned(y[kept])
        axes.plot(x, y, color=_QUIET, linewidth=0.6, alpha=0.8)
        axes.plot(x, running_mean(y), color=_ACCENT, linewidth=1.8)
        for place, phase in changes(updates, phases):
            axes.axvline(place, color=_QUIET, linewidth=0.9, linestyle=(0, (3, 3)))
            axes.annotate(phase, (place, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                          va="top", color=_QUIET, fontsize=8)  # fmt: skip
        axes.set_xlabel("update")
        axes.margins(x=0.01)

    return _drawn(draw, (4.2, 2.3), f"loss-{slug(name)}")


def losses_together(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], colors: Sequence[str]) -> Markup:
    """The same loss of several runs: label -> (updates, values), smoothed; colours as the page's legend has them.

    All but the first are dashed, each in its own way, so that a curve under an equal one can be seen.
    """

    def draw(axes: Any) -> None:
        for (x, y), color, dashes in zip(curves.values(), colors, cycle(_DASHES)):
            kept = np.isfinite(x) & np.isfinite(y)
            shown = thinned(np.asarray(x)[kept]), running_mean(thinned(np.asarray(y)[kept]))
            axes.plot(*shown, color=color, linewidth=1.6, linestyle=dashes)
        axes.set_xlabel("update")
        axes.margins(x=0.01)

    return _drawn(draw, (6.4, 3.2), "losses")


def thinned(values: Array) -> Array:
    """At most `_MOST_POINTS` numbers: the means of neighbours."""
    if len(values) <= _MOST_POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, _MOST_POINTS)])


def running_mean(values: Array) -> Array:
    """Mean over a window of a twelfth of the curve. Nearer to an end than half a window it goes on along the straight
    line that fits the last whole window best: as smooth as before it, and not pulled inwards.

    Source: Savitzky and Golay, Analytical Chemistry 36(8), 1964, with a line; at the ends as scipy's mode "interp".
    """
    reach = max(0, len(values) // 24)
    window = 2 * reach + 1
    sums = np.concatenate([[0.0], np.cumsum(values)])
    smooth = np.asarray(values, float).copy()
    smooth[reach : len(values) - reach] = (sums[window:] - sums[:-window]) / window
    if reach:
        places = np.arange(window) - reach
        for end, shown in ((slice(0, window), slice(0, reach)), (slice(-window, None), slice(-reach, None))):
            slope = float(places @ values[end]) / float(places @ places)
            smooth[shown] = (values[end].mean() + slope * places)[shown]
    return smooth


def changes(updates: Sequence[float], phases: Sequence[str]) -> list[tuple[float, str]]:
    """(update, phase) where a phase begins, the first one left out."""
    pairs = list(zip(updates, phases, strict=False))
    return [(now[0], now[1]) for before, now in pairwise(pairs) if before[1] != now[1]]


def slug(name: str) -> str:
    """A name as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def plane(vectors_Nd: Array) -> tuple[Array, tuple[float, float]]:
    """The first two principal axes: points (N, 2), and each axis' share of the variance. Signs are fixed."""
    centred = vectors_Nd - vectors_Nd.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    points = np.zeros((len(vectors_Nd), 2))
    known = min(2, len(sizes))
    points[:, :known] = left[:, :known] * sizes[:known]
    largest = np.abs(points).argmax(axis=0)
    points *= np.where(points[largest, [0, 1]] < 0, -1.0, 1.0)
    total = float((sizes**2).sum()) or 1.0
    shares = [float(size**2) / total for size in sizes[:2]] + [0.0, 0.0]
    return points, (shares[0], shares[1])


def embedding_plot(
    tokens: Sequence[str], colors: Sequence[str], vectors_Kd: Array, words: Sequence[str], table_Vd: Array
) -> Markup:
    """Tokens as large points in their colours, words as small ones, on the plane where all differ most."""
    points, shares = plane(np.concatenate([vectors_Kd, table_Vd]))
    count = len(tokens)

    def draw(axes: Any) -> None:
        axes.scatter(*points[count:].T, s=16, color=_QUIET, alpha=0.7, linewidths=0, zorder=2)
        axes.scatter(*points[:count].T, s=110, c=list(colors), edgecolors=_INK, linewidths=0.8, zorder=3)
        axes.set_xlabel(f"first axis ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"second axis ({shares[1]:.0%})")
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.tick_params(length=0)
        axes.margins(0.14)
        _place_labels(axes, points, [*tokens, *words], count)

    return _drawn(draw, (5.4, 4.4), "tokens")


_OFFSETS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def _place_labels(axes: Any, points: Array, names: Sequence[str], count: int) -> None:
    """Each label beside its point where it covers the least of what is there already; words that find no room at all
    go without (a token never does)."""
    figure = axes.figure
    figure.draw_without_rendering()
    at = axes.transData.transform(points)
    scale = figure.dpi / 72
    taken = [_around(x, y, 6 * scale if row < count else 2.5 * scale) for row, (x, y) in enumerate(at)]
    frame = axes.get_window_extent()
    for row, name in enumerate(names):
        big = row < count
        size = 9.5 if big else 8
        width, height = len(name) * size * 0.62 * scale, size * 1.25 * scale
        reach = (8.5 if big else 5) * scale
        options = []
        for far in (1.0, 2.2, 3.6):
            for dx, dy in _OFFSETS:
                x = at[row][0] + dx * (reach * far + width / 2 if dx else 0)
                y = at[row][1] + dy * (reach * far * 0.8 + height / 2)
                box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
                outside = _outside(box, frame.extents)
                options.append((sum(_common(box, other) for other in taken) + 4 * outside, box))
        cost, box = min(options, key=lambda option: option[0])
        if cost > 0.15 * width * height and not big:
            continue
        taken.append(box)
        x, y = axes.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        axes.text(x, y, name, fontsize=size, ha="center", va="center", color=_INK if big else _QUIET,
                  fontweight="bold" if big else "normal", zorder=4)  # fmt: skip


Box = tuple[float, float, float, float]


def _around(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def _common(one: Box, other: Box) -> float:
    """Area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def _outside(box: Box, frame: Sequence[float]) -> float:
    """Area of `box` beyond `frame`."""
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return whole - _common(box, (frame[0], frame[1], frame[2], frame[3]))
