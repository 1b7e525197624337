"""What every stage left of the picture, and what each refiner changed of it.

Legend: h, w grid; H, W the picture's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from uce.core.flow.data import Concepts
from uce.core.runs.overlay import concept_colors
from uce.reporting import maps
from uce.reporting.html import data_uri
from uce.reporting.material import Array, Material

GONE = (214, 69, 61)
"""Colour of what a refiner took out of all masks."""
QUIET = (168, 172, 178)
"""Colour of masks that it left as they were."""


@dataclass(frozen=True)
class Panel:
    """One stage. Without a picture (`uri` "") it changed nothing, and is a line."""

    name: str
    text: str
    uri: str = ""


def stages_part(material: Material, sheet: maps.Sheet | None, detail: int) -> list[Panel]:
    """Pictures of the stages in their order; refiners that follow each other and change nothing are one line."""
    if sheet is None:
        return []
    side, found = max(detail, 200) + 60, []
    if material.attention is not None:
        heat = sheet.heat(material.attention.saliency.float().numpy(), 1.0)
        found.append(Panel("saliency", "how much the picture attends to each cell", data_uri(heat, side)))
    if material.clusters is not None:
        labels = material.clusters.labels.numpy()
        text = f"{material.clusters.num_clusters} clusters of cells whose affinity agrees"
        drawn = sheet.regions(labels, maps.label_colors(labels))
        found.append(Panel("clusters", text, data_uri(drawn, side, flat=True)))
    found += _refiners(material, sheet, side)
    known = [(row, mask) for row, mask in enumerate(material.masks) if mask is not None]
    if known:
        pixels = np.full(sheet.picture.size, -1)
        for row, mask in known:
            pixels[mask] = row
        shown = maps.Sheet.of(sheet.picture.original, "stretch", side)
        text = f"{len(known)} masks at the picture's own size"
        drawn = shown.regions(pixels, concept_colors(len(material.masks)))
        found.append(Panel("concepts", text, data_uri(drawn, side, flat=True)))
    return found


def _refiners(material: Material, sheet: maps.Sheet, side: int) -> list[Panel]:
    before = None
    if material.clusters is not None:
        labels = material.clusters.labels.numpy()
        before = _unique(labels[None] == np.unique(labels[labels >= 0])[:, None, None])
    found: list[Panel] = []
    idle: list[str] = []
    earlier: Concepts | None = None
    for name, concepts in material.refined:
        now, size = concepts.masks.numpy(), len(concepts)
        if before is not None and _same(before, now) and not _moved(earlier, concepts):
            idle.append(name)
        else:
            found, idle = [*found, *_line(idle)], []
            if before is None or _same(before, now):  # only the pixels are others
                text, drawn = f"{size} outlines put at the picture's edges", _pixels(sheet, concepts, side)
            else:
                text, drawn = _told(before, now), _changed(sheet, before, now)
            found.append(Panel(f"refiner {name}", text, data_uri(drawn, side, flat=True)))
        before, earlier = now, concepts
    return [*found, *_line(idle)]


def _line(names: list[str]) -> list[Panel]:
    if not names:
        return []
    name = f"refiner{'s' if len(names) > 1 else ''} {', '.join(names)}"
    return [Panel(name, "changed nothing")]


def _unique(masks_Khw: Array) -> Array:
    return masks_Khw[masks_Khw.any(axis=(1, 2))]


def _same(before_Khw: Array, now_Khw: Array) -> bool:
    """Whether both are the same masks, in whatever order."""
    return {mask.tobytes() for mask in before_Khw} == {mask.tobytes() for mask in now_Khw}


def _moved(before: Concepts | None, now: Concepts) -> bool:
    """Whether pixel masks appeared, or are others."""
    if now.pixel_masks is None:
        return False
    if before is None or before.pixel_masks is None:
        return True
    return not _same(before.pixel_masks.numpy(), now.pixel_masks.numpy())


def _told(before_Khw: Array, now_Khw: Array) -> str:
    """What a refiner did, in words."""
    kept = {mask.tobytes() for mask in before_Khw}
    changed = sum(mask.tobytes() not in kept for mask in now_Khw)
    gone = int((before_Khw.any(axis=0) & ~now_Khw.any(axis=0)).sum())
    parts = [f"{len(before_Khw)} became {len(now_Khw)}" if len(before_Khw) != len(now_Khw) else f"{len(now_Khw)} stay"]
    parts += [f"{changed} changed, in colour"] if changed else []
    parts += [f"{gone} cells are left out, in red"] if gone else []
    return "; ".join(parts)


def _changed(sheet: maps.Sheet, before_Khw: Array, now_Khw: Array) -> Image.Image:
    """Masks that are new or others in their colours, those that stay quiet, and what was taken out."""
    kept = {mask.tobytes() for mask in before_Khw}
    colors = [
        QUIET if mask.tobytes() in kept else color
        for mask, color in zip(now_Khw, concept_colors(len(now_Khw)), strict=True)
    ]
    labels = maps.mask_labels(now_Khw)
    labels[before_Khw.any(axis=0) & ~now_Khw.any(axis=0)] = len(now_Khw)
    return sheet.regions(labels, [*colors, GONE])


def _pixels(sheet: maps.Sheet, concepts: Concepts, side: int) -> Image.Image:
    """Pixels that changed sides in the masks' colours, those that stay quiet, and what was taken out."""
    if concepts.pixel_masks is None or tuple(concepts.pixel_masks.shape[1:]) != sheet.picture.size:
        labels = maps.mask_labels(concepts.masks.numpy())
        return sheet.regions(labels, maps.label_colors(labels))
    now = concepts.pixel_masks.numpy()
    before = sheet.picture.to_original(concepts.masks).numpy()
    count = len(now)
    labels = np.full(sheet.picture.size, -1)
    for row in range(count):
        labels[now[row]] = np.where(before[row][now[row]], count + 1, row)
    labels[before.any(axis=0) & ~now.any(axis=0)] = count
    shown = maps.Sheet.of(sheet.picture.original, "stretch", side)
    return shown.regions(labels, [*concept_colors(count), GONE, QUIET])
