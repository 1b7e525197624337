"""The parts of a report that lie over the picture: concepts, stages, the affinity of any cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from uce.core.runs.overlay import inner_point
from uce.core.work.held import Concept
from uce.core.work.sightings import mask_path, picture_path
from uce.reporting import maps
from uce.reporting.colors import readable
from uce.reporting.html import data_uri, file_uri, read_rgb
from uce.reporting.material import Array, Material
from uce.reporting.outline import svg_path


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


def photo_part(material: Material, sheet: maps.Sheet | None, budget: Budget) -> dict[str, Any] | None:
    if sheet is None:
        return None
    height, width = sheet.picture.size
    return {"uri": data_uri(sheet.photo, budget.picture, 86), "width": width, "height": height}


def concept_part(
    material: Material, sheet: maps.Sheet | None, budget: Budget, concept: Concept, mask: Array | None, color: str
) -> dict[str, Any]:
    """One concept's outline and card."""
    name = f"{concept.token}{f' ({concept.label})' if concept.label else ''}"
    side_by_side: list[tuple[str, str, str]] = []
    pictures: list[tuple[str, str, str]] = []
    if sheet is not None and mask is not None:
        around = sheet.around(mask)
        uri = data_uri(sheet.photo.crop(around), budget.detail)
        side_by_side.append(("source", uri, f"{name}: the part of the picture that shows it"))
        uri = data_uri(sheet.cut_out(mask).crop(around), budget.detail)
        side_by_side.append(("cut out", uri, f"{name}: the picture inside its mask"))
    side_by_side += _elsewhere(material, concept, name, budget)
    if sheet is not None and (values := _map_of(material, concept, mask, sheet)) is not None:
        uri = data_uri(sheet.heat(values), budget.detail)
        pictures.append(("affinity", uri, f"where the cells of {name} attend, on average"))
    if sheet is not None and mask is not None and material.attention is not None:
        heat = sheet.heat(material.attention.saliency.float().numpy(), 1.0)
        uri = data_uri(sheet.dimmed(heat, mask), budget.detail)
        pictures.append(("saliency", uri, f"saliency inside {name}"))
    drawn = [file_uri(path, budget.sample) for path in material.samples(concept)[: budget.samples]]
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
        "line": readable(color),
        "side_by_side": side_by_side,
        "pictures": pictures,
        "samples": [uri for uri in drawn if uri],
        "words": _words(material, concept),
    }


def _elsewhere(material: Material, concept: Concept, name: str, budget: Budget) -> list[tuple[str, str, str]]:
    """The thing cut out of the further pictures that it was learned from."""
    found = []
    for number, row in enumerate(material.info.get("pictures", [])):
        photo = read_rgb(picture_path(material.run.folder, number)) if number else None
        shown = read_rgb(mask_path(material.run.folder, number, concept.index)) if photo else None
        if photo is None or shown is None or shown.size != photo.size:
            continue
        inside = np.asarray(shown.convert("L")) > 127
        alone = Image.fromarray(np.where(inside[..., None], np.asarray(photo), np.uint8(255)))
        where = str(row.get("name") or f"picture {number}")
        uri = data_uri(alone.crop(shown.getbbox()), budget.detail)
        found.append((where, uri, f"{name} in {where}"))
    return found


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
    """Nearest words, with how sure the model is of each; else with the cosine where their vectors were kept."""
    if concept.confidences:
        return [(word, f"{sure:.2f}") for word, sure in zip(concept.words, concept.confidences, strict=True)]
    known = material.words
    if known is None or material.vectors is None:
        return [(word, "") for word in concept.words]
    vector = material.vectors[material.concepts.index(concept)]
    rows = dict(zip(*known, strict=True))

    def cosine(row: Array) -> float:
        return float(row @ vector / max(float(np.linalg.norm(row) * np.linalg.norm(vector)), 1e-12))

    return [(word, f"{cosine(rows[word]):.2f}" if word in rows else "") for word in concept.words]


def explorer_part(
    material: Material, sheet: maps.Sheet | None, budget: Budget, colors: list[str]
) -> dict[str, Any] | None:
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
