"""What a refiner changed is in colour; what changed nothing is a line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from uce.core.flow.data import Clusters, Concepts
from uce.core.runs.overlay import concept_colors
from uce.reporting import stages
from uce.reporting.colors import contrast, readable
from uce.reporting.maps import Sheet
from uce.reporting.plots import running_mean
from uce.reporting.stages import GONE, QUIET, stages_part

GRID = (8, 8)
PAPER, DARK = "#ffffff", "#1e2125"


def concepts(*boxes: tuple[int, int, int, int]) -> Concepts:
    masks = torch.zeros(len(boxes), *GRID, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Concepts(masks, torch.full((len(boxes), 64), 1 / 64), torch.ones(len(boxes)))


LEFT, RIGHT, WIDE = (1, 1, 4, 3), (1, 5, 4, 7), (1, 1, 4, 7)


def material(*refined: tuple[str, Concepts]) -> Any:
    labels = torch.full(GRID, -1)
    labels[1:4, 1:3], labels[1:4, 5:7] = 4, 2  # numbers as a clusterer gives them, in no order
    return SimpleNamespace(attention=None, clusters=Clusters(labels), refined=list(refined), masks=[])


@pytest.fixture
def sheet() -> Sheet:
    return Sheet.of(np.full((64, 64, 3), 90, np.uint8), "stretch", 64)


def test_refiners_that_change_nothing_are_one_line(sheet: Sheet) -> None:
    two, one = concepts(LEFT, RIGHT), concepts(WIDE)
    found = stages_part(material(("saliency", two), ("smooth", two), ("merge", one), ("split", one)), sheet, 200)
    assert [(panel.name, panel.text, bool(panel.uri)) for panel in found] == [
        ("clusters", "2 clusters of cells whose affinity agrees", True),
        ("refiners saliency, smooth", "changed nothing", False),
        ("refiner merge", "2 became 1; 1 changed, in colour", True),
        ("refiner split", "changed nothing", False),
    ]


def test_masks_that_stay_are_quiet_changed_ones_coloured_and_lost_cells_red(
    sheet: Sheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, Any]] = []
    monkeypatch.setattr(Sheet, "regions", lambda self, labels, colors: seen.append((labels, colors)) or self.photo)
    found = stages_part(material(("saliency", concepts(LEFT, (1, 5, 4, 6)))), sheet, 200)
    assert found[-1].text == "2 stay; 1 changed, in colour; 3 cells are left out, in red"
    labels, colors = seen[-1]
    assert colors == [QUIET, concept_colors(2)[1], GONE]
    assert (labels[1:4, 1:3] == 0).all() and (labels[1:4, 5] == 1).all() and (labels[1:4, 6] == 2).all()
    assert (labels == -1).sum() == 64 - 12


def test_outlines_at_the_pictures_edges_are_a_change_though_the_cells_stay(sheet: Sheet) -> None:
    two = concepts(LEFT, RIGHT)
    pixels = sheet.picture.to_original(two.masks)
    pixels[0, 8:12, 8:12] = False
    edged = Concepts(two.masks, two.maps, two.scores, pixels)
    found = stages_part(material(("edges", edged), ("again", edged)), sheet, 200)
    assert [panel.text for panel in found[1:]] == ["2 outlines put at the picture's edges", "changed nothing"]
    assert stages._moved(None, edged) and not stages._moved(edged, edged)


@pytest.mark.parametrize("color", ["#ffff00", "#ccff00", "#0000aa", "#2288ee", "#ffffff", "#000000"])
def test_lines_can_be_seen_on_both_papers(color: str) -> None:
    assert min(contrast(readable(color), PAPER), contrast(readable(color), DARK)) >= 3
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_a_curve_is_smoothed_to_its_very_ends() -> None:
    line = np.linspace(3.0, 1.0, 240)
    assert np.allclose(running_mean(line), line), "a straight line stays as it is, at its ends too"
    noisy = line + np.random.default_rng(0).normal(0, 0.3, 240)
    steps = np.abs(np.diff(running_mean(noisy)))
    assert steps[:10].max() <= steps.max() and steps[-10:].max() < 0.05 < np.abs(np.diff(noisy))[-10:].max()
    assert np.allclose(running_mean(np.array([2.0, 4.0])), [2.0, 4.0])
