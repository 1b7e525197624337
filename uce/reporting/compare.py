"""compare.html: several runs side by side, what they were set to and what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.errors import ConfigError
from uce.core.runs.folder import RunFolder
from uce.core.runs.overlay import concept_colors
from uce.core.work.held import Run
from uce.reporting import plots
from uce.reporting.colors import readable
from uce.reporting.html import environment, file_uri, write_page
from uce.reporting.material import Material, flat, mapping, number
from uce.reporting.page import LIMIT_BYTES

_SIDES = ((480, 160, 4), (360, 96, 2), (220, 64, 1), (110, 0, 0))  # of overlays and samples; samples per run
_UNTOLD = ("run.concepts", "run.names")  # differ by what was found, not by what was asked


@dataclass(frozen=True, eq=False)
class Side:
    """One of the runs: its name among the others, its colour in the plot, what it holds."""

    name: str
    color: str
    material: Material


def write_compare(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write a page that compares runs.

    Args:
        folders: run folders; an ablation's folder stands for all its runs.
        out: the page's file.

    Raises:
        ConfigError: fewer than two runs.
        RunFolderError: a folder is no run's, or the page cannot be written.
    """
    paths = list(dict.fromkeys(path for folder in folders for path in runs_of(Path(folder))))
    if len(paths) < 2:
        raise ConfigError(f"there is nothing to compare: found {len(paths)} run in what was given; give at least two")
    colors = [readable(f"#{r:02x}{g:02x}{b:02x}") for r, g, b in concept_colors(len(paths))]
    sides = []
    for name, path, color in zip(names_of(paths), paths, colors, strict=True):
        run = Run(RunFolder(path))
        _ = run.info
        sides.append(Side(name, color, Material(run)))
    write_page(Path(out), render_compare(sides))
    return Path(out)


def runs_of(folder: Path) -> list[Path]:
    """The folder itself, or an ablation's runs."""
    if not (folder / "ablation.json").is_file():
        return [folder]
    return sorted(path.parent for path in (folder / "runs").glob("*/*/run.json"))


def names_of(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell all of them apart."""
    full = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, full)) + 1):
        names = ["/".join(parts[-count:]) for parts in full]
        if len(set(names)) == len(names):
            break
    return names


def render_compare(sides: Sequence[Side], limit: int = LIMIT_BYTES) -> str:
    """The page as text, with pictures as large as `limit` bytes allow."""
    problems: list[str] = []
    shared = {
        "table": table_of(sides),
        "settings": differences(sides),
        "losses": _tried(problems, lambda: _losses(sides)),
        "missing": problems,
        "sides": sides,
        "version": str(mapping(sides[0].material.info.get("versions")).get("uce", "")),
    }
    text = ""
    for overlay, sample, count in _SIDES:
        groups = _groups(sides, overlay, sample, count)
        text = environment().get_template("compare.html.j2").render(groups=groups, **shared)
        if len(text.encode("utf-8", "backslashreplace")) < limit:
            break
    return text


def _tried(problems: list[str], draw: Callable[[], Any]) -> Any:
    try:
        return draw()
    except Exception as error:  # the page does without a plot that matplotlib cannot draw
        problems.append(
            f"The losses could not be drawn ({type(error).__name__}: {' '.join(str(error).split())[:160]})."
        )
        return None


def _groups(sides: Sequence[Side], overlay: int, sample: int, count: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Cards of the runs, those of one picture together."""
    groups: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for side in sides:
        picture = mapping(side.material.info.get("input"))
        name = str(picture.get("name") or "no picture")
        group = groups.setdefault(str(picture.get("digest") or name), (name, []))
        group[1].append(_card(side, overlay, sample, count))
    return list(groups.values())


def _card(side: Side, overlay: int, sample: int, count: int) -> dict[str, Any]:
    material = side.material
    shown = [(concept, path) for concept in material.concepts for path in material.samples(concept)[:1]][:count]
    return {
        "name": side.name,
        "color": side.color,
        "overlay": file_uri(material.path / "overlay.png", overlay),
        "samples": [(c.token, uri) for c, path in shown if (uri := file_uri(path, sample))],
        "concepts": ", ".join(concept.label for concept in material.concepts if concept.label)
        or f"{len(material.concepts)} concept{'' if len(material.concepts) == 1 else 's'}",
        "status": str(material.info.get("status")),
    }


def table_of(sides: Sequence[Side]) -> dict[str, Any]:
    """What came out, a row per run."""
    pictures = {str(mapping(side.material.info.get("input")).get("name") or "") for side in sides}
    several = len(pictures) > 1
    rows = []
    for side in sides:
        material, concepts = side.material, side.material.concepts
        seconds = [number(mapping(row).get("seconds")) for row in material.info.get("stages") or []]
        scores = [concept.score for concept in concepts]
        cells = {
            "run": side.name,
            "picture": str(mapping(material.info.get("input")).get("name") or "") if several else "",
            "concepts": str(len(concepts)),
            "share": f"{sum(concept.share for concept in concepts):.1%}",
            "mean score": f"{np.mean(scores):.2f}" if scores else "",
            "final loss": _final(material),
            "seconds": f"{np.nansum(seconds):.1f}" if seconds else "",
        }
        rows.append((side.color, cells))
    heads = [head for head in rows[0][1] if any(cells[head] for _, cells in rows)]  # no column without a value
    return {
        "heads": heads,
        "keys": 2 if "picture" in heads else 1,
        "rows": [{"color": color, "cells": [cells[head] for head in heads]} for color, cells in rows],
    }


def _final(material: Material) -> str:
    """Mean of the last twelfth of the total loss."""
    values = np.asarray(material.history.get("total", []), float)
    values = values[np.isfinite(values)]
    return f"{values[-max(1, len(values) // 12) :].mean():.4g}" if len(values) else ""


def differences(sides: Sequence[Side]) -> list[tuple[str, list[str]]]:
    """Settings in which the runs differ: key -> value per run, "" where a run has no such setting."""
    flats = [flat(side.material.config) for side in sides]
    keys = dict.fromkeys(key for values in flats for key in values if key not in _UNTOLD)
    rows = [(key, [values.get(key, "") for values in flats]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _losses(sides: Sequence[Side]) -> Any:
    curves, colors = {}, []
    for side in sides:
        history = side.material.history
        if "total" in history and len(history["total"]):
            curves[side.name] = (history.get("update", list(range(1, len(history["total"]) + 1))), history["total"])
            colors.append(side.color)
    return plots.losses_together(curves, colors) if curves else None
