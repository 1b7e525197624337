"""From cells to pixels: which method finds outlines best, given perfect labels on the grid.

    python benchmarks/edges.py --objects FOLDER [--scenes 24] [--photos FOLDER] [--json edges.json]

FOLDER of --objects holds the objects' pictures (see `uce.scenes.objects`); scenes are composed
of validation objects. FOLDER of --photos holds one folder per photograph with img.jpg and mask0.png, mask1.png, ...

Every true mask is put on a grid of 16 x 16 and 32 x 32 cells; each method makes pixels of it again. Printed: mean IoU
of the masks with the truth, and CPU seconds per picture. Methods:

- cells: bilinear between cells, what a run does without any refiner.
- guided filter (He, Sun, Tang, PAMI 2013): the cells' shares filtered with the picture as guide; the strongest wins.
- watershed (Meyer, 1994): floods the picture's gradient from what lies deeper than a cell inside a mask.
- random walker (Grady, PAMI 2006): pixels nearer to an outline than `band` cells join the label that a walk over pixels
  of like colour reaches first.
- edges: the refiner as it ships, a local mean field (Kraehenbuehl and Koltun, NIPS 2011), at several settings.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mini_quality import overlap, validation_scene, validation_stems
from PIL import Image
from scipy.ndimage import distance_transform_edt, uniform_filter
from skimage.color import rgb2lab
from skimage.filters import sobel
from skimage.segmentation import random_walker, watershed

from uce.core.flow.data import Concepts
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.refiners.edges import EdgesRefiner

Floats = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]
SIDE = 512
WORK = 256


def shares(picture: Picture, masks: torch.Tensor) -> Floats:
    """How much of each pixel is background, mask 0, 1, ...: the cells, bilinear, (K + 1, WORK, WORK)."""
    layers = torch.cat([~masks.any(dim=0, keepdim=True), masks]).float()[None]
    return torch.nn.functional.interpolate(layers, size=(WORK, WORK), mode="bilinear")[0].numpy()


def small(picture: Picture) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture.original).resize((WORK, WORK), Image.Resampling.BOX))


def strongest(chances: Floats) -> Masks:
    """The winner of every pixel at full size, without the background: bool (K, SIDE, SIDE)."""
    large = torch.nn.functional.interpolate(torch.from_numpy(chances)[None], size=(SIDE, SIDE), mode="bilinear")[0]
    winner = large.argmax(dim=0).numpy()
    return winner[None] == np.arange(1, len(chances))[:, None, None]


def cells(picture: Picture, masks: torch.Tensor) -> Masks:
    return picture.to_original(masks).numpy()


def guided(radius: float, eps: float) -> Callable[[Picture, torch.Tensor], Masks]:
    """He's filter with a colour guide; `radius` in cells."""

    def method(picture: Picture, masks: torch.Tensor) -> Masks:
        guide = (small(picture) / np.float32(255)).astype(np.float32)
        size = 2 * round(radius * WORK / masks.shape[1]) + 1

        def mean(values: Any) -> Any:
            return uniform_filter(values, size=(size, size) + (0,) * (values.ndim - 2), mode="nearest")

        average = mean(guide)
        outer = mean(guide[..., :, None] * guide[..., None, :]) - average[..., :, None] * average[..., None, :]
        inverse = np.linalg.inv(outer + eps * np.eye(3))
        found = []
        for share in shares(picture, masks):
            cross = mean(guide * share[..., None]) - average * mean(share)[..., None]
            slope = np.einsum("hwij,hwj->hwi", inverse, cross)
            offset = mean(share) - (slope * average).sum(-1)
            found.append((mean(slope) * guide).sum(-1) + mean(offset))
        return strongest(np.stack(found).astype(np.float32))

    return method


def seeds(masks: Masks, band: float) -> npt.NDArray[np.int64]:
    """Label of pixels that are surely the background's (1) or a mask's (2, 3, ...): deeper than `band` pixels, or of
    things too thin for that their deepest part; 0 near outlines."""
    found = np.zeros(masks.shape[1:], np.int64)
    for label, mask in enumerate([~masks.any(axis=0), *masks], start=1):
        if mask.any():
            depth = distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
            found[mask & (depth > min(band, 0.6 * float(depth.max())))] = label
    return found


def starts(picture: Picture, masks: torch.Tensor, band: float) -> npt.NDArray[np.int64]:
    """The seeds of cell masks on the working size; `band` in cells."""
    return seeds(strongest(shares(picture, masks))[:, :: SIDE // WORK, :: SIDE // WORK], band * WORK / masks.shape[1])


def flooded(picture: Picture, masks: torch.Tensor) -> Masks:
    """Watershed of the colour gradient from surely inner pixels."""
    lab = rgb2lab(small(picture))
    gradient = np.sqrt(sum(sobel(lab[..., channel]) ** 2 for channel in range(3)))
    labels = watershed(gradient, starts(picture, masks, 1))
    return strongest(np.stack([labels == number for number in range(1, len(masks) + 2)]).astype(np.float32))


def walker(band: float, contrast: float) -> Callable[[Picture, torch.Tensor], Masks]:
    """scikit-image's random walker on CIELAB colours."""

    def method(picture: Picture, masks: torch.Tensor) -> Masks:
        lab, given = rgb2lab(small(picture)), starts(picture, masks, band)
        labels = np.unique(given[given > 0])
        compact = np.where(given > 0, np.searchsorted(labels, given) + 1, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skimage recommends an optional solver; results are the same
            options = {"mode": "cg_j", "tol": 1e-3, "channel_axis": -1, "return_full_prob": True}
            found = random_walker(lab / lab.std(), compact, beta=contrast, **options)
        chances = np.zeros((len(masks) + 1, WORK, WORK), np.float32)
        chances[labels - 1] = found
        return strongest(chances)

    return method


def edges(**settings: Any) -> Callable[[Picture, torch.Tensor], Masks]:
    """The refiner as it ships."""

    def method(picture: Picture, masks: torch.Tensor) -> Masks:
        num = len(masks)
        concepts = Concepts(masks, torch.full((num, masks[0].numel()), 1 / masks[0].numel()), torch.ones(num))
        refined = EdgesRefiner().uce_refine_masks(concepts, picture, EdgesRefiner.Settings(**settings))
        assert refined.pixel_masks is not None
        return refined.pixel_masks.numpy()

    return method


METHODS: dict[str, Callable[[Picture, torch.Tensor], Masks]] = {
    "cells": cells,
    "guided filter, 1 cell, eps 1e-4": guided(1, 1e-4),
    "guided filter, 1 cell, eps 1e-3": guided(1, 1e-3),
    "guided filter, 2 cells, eps 1e-4": guided(2, 1e-4),
    "watershed, 1 cell": flooded,
    "random walker, 0.7 cells, contrast 500": walker(0.7, 500),
    "random walker, 1 cell, contrast 500": walker(1, 500),
    "random walker, 1 cell, contrast 2000": walker(1, 2000),
    "`edges`": edges(),
    "`edges`, colour 5": edges(colour=5),
    "`edges`, colour 12": edges(colour=12),
    "`edges`, band 0.7": edges(band=0.7),
    "`edges`, band 1.5": edges(band=1.5),
}


def pictures(options: argparse.Namespace) -> Iterator[tuple[str, npt.NDArray[np.uint8], Masks]]:
    """(kind, picture, truth)."""
    stems = validation_stems(options.objects)
    for index in range(options.scenes):
        scene = validation_scene(options.objects, stems, index, SIDE)
        yield "scenes", scene.picture, scene.masks
    for folder in sorted(options.photos.iterdir()) if options.photos else []:
        if (folder / "img.jpg").is_file():
            paths = sorted(folder.glob("mask*.png"))
            masks = np.stack([np.asarray(Image.open(path).convert("L")) > 127 for path in paths])
            yield "photographs", np.asarray(Image.open(folder / "img.jpg").convert("RGB")), masks


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--photos", type=Path, help="folder of photographs with masks")
    parser.add_argument("--only", default="", help="methods whose name holds this text")
    parser.add_argument("--json", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = {name: method for name, method in METHODS.items() if options.only in name}
    ious: dict[str, dict[str, list[float]]] = {name: {} for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for kind, pixels, truth in pictures(options):
        picture = read_picture(pixels, SIDE)
        for grid in (16, 32):
            masks = picture.to_grid(torch.from_numpy(truth), (grid, grid))
            for name, method in methods.items():
                began = time.process_time()
                found = method(picture, masks)
                seconds[name].append(time.process_time() - began)
                ious[name].setdefault(f"{kind} {grid}", []).extend(overlap(truth, found).diagonal())
    columns = list(next(iter(ious.values())))
    rows = {
        name: {**{c: float(np.mean(values[c])) for c in columns}, "seconds": float(np.mean(seconds[name]))}
        for name, values in ious.items()
    }
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    print("| method |", " | ".join(f"{column} x {column.split()[1]}" for column in columns), "| CPU s |")
    print("| --- |", " | ".join("---" for _ in columns), "| --- |")
    for name, row in rows.items():
        print(f"| {name} |", " | ".join(f"{row[c]:.3f}" for c in columns), f"| {row['seconds']:.2f} |")


if __name__ == "__main__":
    main()
