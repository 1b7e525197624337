"""report.html: one page about one run that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.errors import RunFolderError
from uce.core.overlay import concept_colors, inner_point
from uce.core.run import Concept, Run
from uce.core.run_folder import RunFolder
from uce.reporting import maps, plots
from uce.reporting.html import data_uri, environment, file_uri, write_page
from uce.reporting.material import Array, Material, flat, mapping, number
from uce.reporting.outline import svg_path

LIMIT_BYTES = 5_000_000


@dataclass(frozen=True)
class Budget:
    """How much of everything is shown. picture, detail, sample: sides in pixels; samples: per concept; cells: of the
    affinity, per side."""

    picture: int
    detail: int
    sample: int
    samples: int
    cells: int


BUDGETS = (Budget(1000, 300, 256, 6, 32), Budget(800, 200, 192, 2, 24), Budget(640, 96, 96, 1, 16))


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
            f"{path} is an ablation's; open {path / 'ablation.html'}, or compare its runs with uce report --compare {path}"
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
        if len(text.encode()) < limit:
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
    concepts = [_concept(material, sheet, budget, c, mask, color) for c, mask, color in rows]
    problems = material.missing()
    losses = _plots(problems, "loss curves", lambda: _losses(material)) or []
    return {
        "info": material.info,
        "title": _title(material),
        "status": str(material.info.get("status")),
        "facts": _facts(material),
        "photo": _photo(material, sheet, budget),
        "concepts": concepts,
        "together": file_uri(material.path / "samples" / "all.png", budget.sample * 2),
        "stages": _stages(material, sheet, budget),
        "explorer": _explorer(material, sheet, budget, colors),
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


def _photo(material: Material, sheet: maps.Sheet | None, budget: Budget) -> dict[str, Any] | None:
    if sheet is None:
        return None
    height, width = sheet.picture.size
    return {"uri": data_uri(sheet.photo, budget.picture, 86), "width": width, "height": height}


def _concept(
    material: Material, sheet: maps.Sheet | None, budget: Budget, concept: Concept, mask: Array | None, color: str
) -> dict[str, Any]:
    """One concept's outline and card."""
    name = f"{concept.token}{f' ({concept.label})' if concept.label else ''}"
    pictures: list[tuple[str, str, str]] = []
    if sheet is not None and mask is not None:
        uri = data_uri(sheet.cut_out(mask), budget.detail)
        pictures.append(("mask", uri, f"{name}: the picture inside its mask"))
    if sheet is not None and (values := _map_of(material, concept, mask, sheet)) is not None:
        uri = data_uri(sheet.heat(values), budget.detail)
        pictures.append(("affinity", uri, f"where the cells of {name} attend, on average"))
    if sheet is not None and mask is not None and material.attention is not None:
        heat = sheet.heat(material.attention.saliency.float().numpy(), 1.0)
        uri = data_uri(sheet.dimmed(heat, mask), budget.detail)
        pictures.append(("saliency", uri, f"saliency inside {name}"))
    samples = [(uri, number) for number, path in enumerate(material.samples(concept)[: budget.samples], start=1)
               if (uri := file_uri(path, budget.sample))]  # fmt: skip
    place = None if mask is None else inner_point(mask)
    return {
        "index": concept.index,
        "token": concept.token,
        "label": concept.label,
        "name": name,
        "color": color,
        "dark_text": _is_light(color),
        "path": "" if mask is None else svg_path(mask),
        "at": None if place is None else (round(place[1], 1), round(place[0], 1)),
        "share": f"{concept.share:.1%}",
        "score": f"{concept.score:.2f}",
        "facts": [
            ("share", f"{concept.share:.1%}"),
            ("score", f"{concept.score:.2f}"),
            ("pixels", f"{concept.area:,}"),
        ],
        "pictures": pictures,
        "samples": samples,
        "words": _words(material, concept),
    }


def _is_light(color: str) -> bool:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140


def _map_of(material: Material, concept: Concept, mask: Array | None, sheet: maps.Sheet) -> Array | None:
    """The concept's map as the localisation left it; of a mask drawn by hand the mean of its cells' rows."""
    if concept.index in material.found:
        return np.asarray(material.found[concept.index][1])
    if mask is None or material.attention is None:
        return None
    import torch

    grid = material.attention.grid
    cells = sheet.picture.to_grid(torch.from_numpy(mask)[None], grid)[0].flatten()
    rows = material.attention.affinity[cells]
    return np.asarray(rows.float().mean(dim=0).reshape(grid)) if len(rows) else None


def _words(material: Material, concept: Concept) -> list[tuple[str, str]]:
    """Nearest words, with the cosine where their vectors were kept."""
    known = material.words
    if known is None or material.vectors is None:
        return [(word, "") for word in concept.words]
    vector = material.vectors[material.concepts.index(concept)]
    rows = {word: row for word, row in zip(*known, strict=True)}

    def cosine(row: Array) -> float:
        return float(row @ vector / max(float(np.linalg.norm(row) * np.linalg.norm(vector)), 1e-12))

    return [(word, f"{cosine(rows[word]):.2f}" if word in rows else "") for word in concept.words]


def _stages(material: Material, sheet: maps.Sheet | None, budget: Budget) -> list[dict[str, str]]:
    """Pictures of the stages in their order."""
    if sheet is None:
        return []
    side, found = max(budget.detail, 200) + 60, []
    if material.attention is not None:
        heat = sheet.heat(material.attention.saliency.float().numpy(), 1.0)
        found.append(("saliency", "how much the picture attends to each cell", data_uri(heat, side)))
    if material.clusters is not None:
        labels = material.clusters.labels.numpy()
        text = f"{material.clusters.num_clusters} clusters of cells whose affinity agrees"
        found.append(("clusters", text, data_uri(sheet.regions(labels, maps.label_colors(labels)), side, flat=True)))
    for name, concepts in material.refined:
        labels = maps.mask_labels(concepts.masks.numpy())
        text = f"{len(concepts)} left after this refiner"
        found.append(
            (f"refiner {name}", text, data_uri(sheet.regions(labels, maps.label_colors(labels)), side, flat=True))
        )
    known = [(row, mask) for row, mask in enumerate(material.masks) if mask is not None]
    if known:
        pixels = np.full(sheet.picture.size, -1)
        for row, mask in known:
            pixels[mask] = row
        shown = maps.Sheet.of(sheet.picture.original, "stretch", side)
        text = f"{len(known)} masks at the picture's own size"
        drawn = shown.regions(pixels, concept_colors(len(material.masks)))
        found.append(("concepts", text, data_uri(drawn, side, flat=True)))
    return [{"name": name, "text": text, "uri": uri} for name, text, uri in found]


def _explorer(material: Material, sheet: maps.Sheet | None, budget: Budget, colors: list[str]) -> dict[str, Any] | None:
    """What the page needs to show the affinity of any cell."""
    if sheet is None or material.attention is None:
        return None
    grid = material.attention.grid
    rows, small = maps.blocks(material.attention.affinity, grid, budget.cells)
    labels = np.full(grid, -1)
    for row, concept in enumerate(material.concepts):
        kept = material.found.get(concept.index)
        if kept is not None and kept[0].shape == labels.shape:
            labels[kept[0]] = row
    first = next((c for c in material.masks if c is not None), None)
    height, width = sheet.picture.size
    place = inner_point(first) if first is not None else (height / 2, width / 2)
    return {
        "rows": small[0],
        "columns": small[1],
        "data": maps.packed(maps.quantised(rows, grid, small)),
        "shares": maps.packed(maps.shares(rows, labels, len(material.concepts))),
        "labels": maps.reduced_labels(labels, small),
        "names": [f"{c.token} {c.label or ''}".strip() for c in material.concepts],
        "colors": colors,
        "palette": maps.palette().ravel().tolist(),
        "start": [place[1] / width, place[0] / height],
        **sheet.frames,
    }


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
    command = str(info.get("command") or "")
    if command.startswith("uce "):
        found.append(("as it was typed", [command]))
    if material.original is not None and material.config:
        repeat = ["uce run input.png --config config.yaml -o ../again"]
        if info.get("mode") == "learn":
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
