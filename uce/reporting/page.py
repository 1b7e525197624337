"""report.html: one page about one run that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.errors import RunFolderError
from uce.core.runs.folder import RunFolder
from uce.core.runs.overlay import concept_colors
from uce.core.work.held import Run
from uce.reporting import maps, plots
from uce.reporting.html import environment, file_uri, write_page
from uce.reporting.material import Material, flat, mapping, number
from uce.reporting.parts import BUDGETS, Budget, concept_part, explorer_part, photo_part
from uce.reporting.stages import stages_part

LIMIT_BYTES = 5_000_000


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run: everything that the folder holds, and what it lacks.

    Args:
        folder: the run folder.
        out: the page's file; None is report.html in the folder.

    Raises:
        RunFolderError: no run folder, or the page cannot be written.
    """
    run = open_run(Path(folder))
    path = run.path / "report.html" if out is None else Path(out)
    write_page(path, render_report(run))
    return path


def open_run(path: Path) -> Run:
    """A run folder whose run.json can be read.

    Raises:
        RunFolderError: it is none.
    """
    if (path / "ablation.json").is_file():
        raise RunFolderError(
            f"{path} is an ablation's; open {path / 'ablation.html'}, or compare its runs with "
            f"uce report --compare {path}"
        )
    run = Run(RunFolder(path))
    _ = run.info
    return run


def render_report(run: Run, limit: int = LIMIT_BYTES) -> str:
    """The page as text, with as much detail as `limit` bytes allow."""
    text = ""
    for budget in BUDGETS:
        template = environment().get_template("report.html.j2")
        text = template.render(report_document(run, budget))
        if len(text.encode("utf-8", "backslashreplace")) < limit:
            break
    return text


def report_document(run: Run, budget: Budget = BUDGETS[0]) -> dict[str, Any]:
    """What the template shows."""
    material = Material(run)
    sheet = None
    if material.original is not None:
        fit = str(mapping(material.config.get("run")).get("fit", "pad"))
        sheet = maps.Sheet.of(material.original, fit, budget.picture)
    colors = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in concept_colors(len(material.concepts))]
    rows = zip(material.concepts, material.masks, colors, strict=True)
    concepts = [concept_part(material, sheet, budget, c, mask, color) for c, mask, color in rows]
    problems = material.missing()
    losses = _plots(problems, "loss curves", lambda: _losses(material)) or []
    return {
        "info": material.info,
        "title": _title(material),
        "status": str(material.info.get("status")),
        "facts": _facts(material),
        "photo": photo_part(material, sheet, budget),
        "concepts": concepts,
        "together": [uri for path in material.together()[:4] if (uri := file_uri(path, budget.sample * 2))],
        "stages": stages_part(material, sheet, budget.detail),
        "explorer": explorer_part(material, sheet, budget, colors),
        "losses": losses,
        "embedding": _plots(problems, "token plot", lambda: _embedding(material, colors)),
        "settings": _settings(material),
        "versions": {str(k): str(v) for k, v in mapping(material.info.get("versions")).items()},
        "timings": _timings(material),
        "commands": _commands(material),
        "missing": problems,
    }


def _plots(problems: list[str], what: str, draw: Callable[[], Any]) -> Any:
    """What `draw` gives; where matplotlib is broken the page says so and does without."""
    try:
        return draw()
    except Exception as error:  # whatever a plotting library may raise must not cost the page
        problems.append(
            f"The {what} could not be drawn ({type(error).__name__}: {' '.join(str(error).split())[:160]})."
        )
        return None


def _title(material: Material) -> str:
    name = mapping(material.info.get("input")).get("name")
    return str(name or material.path.name)


def _facts(material: Material) -> list[tuple[str, str]]:
    info, model = material.info, mapping(material.info.get("model"))
    picture = mapping(info.get("input"))
    plugins = [row for row in map(mapping, info.get("plugins") or []) if not row.get("wraps")]
    stages = [f"{row.get('plugin')}" for row in plugins if row.get("stage") != "backbone"]
    rows = [
        ("model", model.get("name")),
        (
            "picture",
            f"{picture['width']} x {picture['height']}" if "width" in picture and "height" in picture else None,
        ),
        ("stages", ", ".join(stages)),
        ("seed", info.get("seed")),
        ("device", f"{info.get('device')}, {info.get('precision')}" if info.get("device") else None),
        ("date", str(info.get("started") or "")[:10]),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _losses(material: Material) -> list[dict[str, Any]]:
    history = material.history
    if not history:
        return []
    rows = len(next(iter(history.values())))
    updates = history.get("update") or [float(n) for n in range(1, rows + 1)]
    phases = [str(phase) for phase in history.get("phase", [""] * rows)]
    names = [name for name in history if name not in ("update", "phase", "step")]
    names.sort(key=lambda name: name != "total")
    drawn = []
    for name in names:
        values = np.asarray(history[name], float)
        finite = values[np.isfinite(values)]
        if not len(finite):
            continue
        span = max(1, len(finite) // 12)
        text = f"from {finite[:span].mean():.3g} to {finite[-span:].mean():.3g} in {rows} updates"
        drawn.append({"name": name, "text": text, "svg": plots.loss_plot(name, updates, values.tolist(), phases)})
    return drawn


def _embedding(material: Material, colors: list[str]) -> dict[str, Any] | None:
    if material.vectors is None or material.words is None:
        return None
    words, table = material.words
    tokens = [concept.token for concept in material.concepts]
    near = "; ".join(f"{c.token} is near {', '.join(c.words)}" for c in material.concepts if c.words)
    return {"svg": plots.embedding_plot(tokens, colors, material.vectors, words, table), "alt": near}


def _settings(material: Material) -> list[dict[str, Any]]:
    return [
        {"name": str(section), "rows": list(flat(body).items())}
        for section, body in material.config.items()
        if isinstance(body, dict)
    ]


def _timings(material: Material) -> list[dict[str, Any]]:
    rows = [mapping(row) for row in material.info.get("stages") or []]
    known = [(str(row.get("stage")), number(row.get("seconds")), bool(row.get("reused"))) for row in rows]
    longest = max((seconds for _, seconds, _ in known if np.isfinite(seconds)), default=0) or 1
    return [
        {
            "stage": stage,
            "seconds": f"{seconds:.1f} s",
            "width": round(100 * max(0.0, seconds) / longest, 1),
            "reused": reused,
        }
        for stage, seconds, reused in known
        if np.isfinite(seconds)
    ]


def _commands(material: Material) -> list[tuple[str, list[str]]]:
    """What was typed, what repeats it from this folder alone, and what to do with the tokens."""
    info, found = material.info, []
    commands = [info.get("command"), info.get("learn_command") if info.get("mode") == "learn" else None]
    typed = [str(command) for command in commands if str(command).startswith("uce ")]
    if typed:
        found.append(("as it was typed", typed))
    if material.original is not None and material.config:
        repeat = ["uce run input.png --config config.yaml -o ../again"]
        if info.get("pictures"):
            repeat = ["cp -r . ../again", "uce learn ../again --overwrite"]
        elif info.get("mode") == "learn":
            repeat = ["uce localize input.png --config config.yaml -o ../again", "cp masks/*.png ../again/masks/",
                      "uce learn ../again"]  # fmt: skip
        elif info.get("status") == "localized":
            repeat = ["uce localize input.png --config config.yaml -o ../again"]
        found.append(("the same again, typed in this folder", repeat))
    if material.run.learned and material.concepts:
        token = material.concepts[0].token
        found.append(
            ("draw with a token", [f'uce generate "a photo of {token} on a blue background" --run . -o pictures'])
        )
    return found
