"""The refiners `edges`, `smooth` and `split`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from uce.core import AttentionMaps, Concepts
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.refiners.edges import EdgesRefiner
from uce.plugins.refiners.smooth import SmoothRefiner
from uce.plugins.refiners.split import SplitRefiner

SIDE = 128


def on_grid(masks_KHW: np.ndarray, side: int = 16) -> np.ndarray:
    num, height, width = masks_KHW.shape
    return masks_KHW.reshape(num, side, height // side, side, width // side).mean(axis=(2, 4)) > 0.5


def concepts_of(masks: np.ndarray, **more: Any) -> Concepts:
    num = masks.shape[1] * masks.shape[2]
    return Concepts(masks, np.full((len(masks), num), 1 / num), np.ones(len(masks)), **more)


def discs(height: int = SIDE, width: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture (H, W, 3) of two discs on a graded background, and the truth (2, H, W)."""
    y, x = np.mgrid[0:height, 0:width]
    unit = min(height, width) / SIDE
    centres = [(40 * unit, 44 * unit, 27 * unit), (height - 38 * unit, width - 41 * unit, 24 * unit)]
    truth = np.stack([(y - cy) ** 2 + (x - cx) ** 2 < r**2 for cy, cx, r in centres])
    picture = np.stack([60 + 60 * x / width, 90 + 50 * y / height, np.full(x.shape, 140.0)], axis=-1)
    picture[truth[0]] = (205, 60, 50)
    picture[truth[1]] = (60, 170, 70)
    picture += np.random.default_rng(0).normal(size=picture.shape) * 8
    return np.clip(picture, 0, 255).astype(np.uint8), truth


def iou(one: np.ndarray, other: np.ndarray) -> float:
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else 1.0  # both empty: cropped away


def sharpen(concepts: Concepts, image: Picture | None, **options: Any) -> Concepts:
    return EdgesRefiner().uce_refine_masks(concepts, image, EdgesRefiner.Settings(**options))


def test_edges_brings_outlines_to_the_pictures_own_edges() -> None:
    picture, truth = discs()
    image = read_picture(Image.fromarray(picture), SIDE)
    concepts = concepts_of(on_grid(truth), labels=["red", "green"])
    refined = sharpen(concepts, image)
    assert refined.pixel_masks is not None and tuple(refined.pixel_masks.shape) == (2, SIDE, SIDE)
    before = image.to_original(concepts.masks).numpy()
    for index in range(2):
        after = iou(refined.pixel_masks[index].numpy(), truth[index])
        assert after > 0.97
        assert after > iou(before[index], truth[index]) + 0.03
    assert torch.equal(refined.masks, concepts.masks) and refined.labels == ["red", "green"]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(300, 500), (700, 340)])
def test_edges_works_at_the_originals_size_and_shape(fit: Any, size: tuple[int, int]) -> None:
    picture, truth = discs(*size)
    image = read_picture(Image.fromarray(picture), SIDE, fit)
    concepts = concepts_of(image.to_grid(torch.from_numpy(truth), (16, 16)).numpy())
    refined = sharpen(concepts, image)
    assert refined.pixel_masks is not None
    found = refined.pixel_masks.numpy()
    assert found.shape == (2, *size)
    top, left, height, width = image.box
    outside = np.ones(size, bool)
    outside[top : top + height, left : left + width] = False
    assert not found[:, outside].any()
    for index in range(2):
        assert iou(found[index], truth[index] & ~outside) > 0.93


def test_edges_mends_frayed_grid_masks() -> None:
    picture, truth = discs()
    image = read_picture(Image.fromarray(picture), SIDE)
    frayed = on_grid(truth)
    frayed[0, 5:7, 8] = False
    frayed[1, 8, 10:13] = True
    refined = sharpen(concepts_of(frayed & ~frayed[::-1]), image)
    assert refined.pixel_masks is not None
    assert iou(refined.pixel_masks[0].numpy(), truth[0]) > 0.95


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(256, 256), (256, 400)])
def test_edges_gives_a_gap_within_a_mask_back_to_the_background(fit: Any, size: tuple[int, int]) -> None:
    height, width = size
    picture, truth = np.full((height, width, 3), (90, 140, 90), np.uint8), np.zeros((1, height, width), bool)
    for left in (width // 2 - 45, width // 2 + 5):
        truth[0, 108:148, left : left + 40] = True
    picture[truth[0]] = (200, 60, 50)
    image = read_picture(Image.fromarray(picture), SIDE, fit)
    start = truth.copy()
    start[0, 108:148, width // 2 - 45 : width // 2 + 45] = True  # the gap of 10 pixels, too
    concepts = concepts_of(image.to_grid(torch.from_numpy(start), (16, 16)).numpy())
    found = [sharpen(concepts, image, background=value).pixel_masks for value in (0, 8, 16)]
    scores = [iou(np.asarray(masks)[0], truth[0]) for masks in found]
    assert scores == sorted(scores) and scores[2] > max(0.98, scores[0] + 0.02)


@pytest.mark.parametrize("size", [(96, 96), (70, 110)])
def test_edges_follows_many_masks_in_boxes_and_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    from uce.plugins.refiners import edges

    picture, _ = discs(*size)
    seeds = np.random.default_rng(0).integers(0, 16, (24, 2))
    y, x = np.indices((16, 16))
    owner = np.argmin([(y - row) ** 2 + (x - column) ** 2 for row, column in seeds], axis=0)
    owner[:, 11:] = -1
    masks = np.stack([owner == index for index in np.unique(owner[owner >= 0])])
    assert len(masks) > 8
    found = []
    for most in (8, 1000):  # in boxes, all at once
        monkeypatch.setattr(edges, "MANY", most)
        refined = sharpen(concepts_of(masks), read_picture(picture, 64, "pad"), side=96).pixel_masks
        assert refined is not None
        found.append(refined)
    assert torch.equal(found[0], found[1]) and int(found[0].flatten(1).any(dim=1).sum()) > 8  # others lie on padding


def test_edges_leaves_bare_maps_and_no_concepts_alone() -> None:
    concepts = concepts_of(on_grid(discs()[1]))
    assert sharpen(concepts, None) is concepts
    nothing = concepts.select([])
    assert sharpen(nothing, read_picture(Image.fromarray(discs()[0]), SIDE)) is nothing


@pytest.mark.parametrize("kind", ["flat", "one cell", "everything", "tiny picture"])
def test_edges_survives_degenerate_pictures(kind: str) -> None:
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8) if kind == "flat" else discs()[0]
    masks = np.zeros((2, 16, 16), bool)
    masks[0, 3:5, 3:5] = masks[1, 10, 10] = True
    if kind == "one cell":
        masks[0], masks[1] = False, False
        masks[0, 0, 0] = masks[1, 15, 15] = True
    if kind == "everything":
        masks = np.ones((1, 16, 16), bool)
    if kind == "tiny picture":
        picture = picture[:5, :3]
    image = read_picture(Image.fromarray(np.ascontiguousarray(picture)), SIDE)
    refined = sharpen(concepts_of(masks), image)
    assert refined.pixel_masks is not None
    assert tuple(refined.pixel_masks.shape[1:]) == image.size
    if kind != "tiny picture":
        assert refined.pixel_masks.any(dim=(1, 2)).all()


def uniform(side: int) -> AttentionMaps:
    num = side * side
    affinity = torch.softmax(torch.randn(num, num, generator=torch.Generator().manual_seed(0)), dim=1)
    return AttentionMaps(affinity, torch.linspace(0, 1, num).reshape(side, side))


def test_smooth_fills_holes_and_drops_specks() -> None:
    masks = np.zeros((2, 12, 12), bool)
    masks[0, 1:8, 1:8] = True
    masks[0, 3, 3] = False  # a hole
    masks[0, 5, 5], masks[1, 5, 5] = False, True  # another concept sits in this one
    masks[0, 10, 10] = True  # a speck
    masks[1, 9:12, 0:3] = True
    masks[0] &= ~masks[1]
    attention = uniform(12)
    result = SmoothRefiner().uce_refine_masks(concepts_of(masks), attention, SmoothRefiner.Settings(specks=0.2))
    first = result.masks[0].numpy()
    assert first[3, 3] and not first[5, 5] and not first[10, 10] and first.sum() == 48
    assert result.masks[1].sum() == 9
    torch.testing.assert_close(result.maps[0], attention.affinity[first.ravel()].mean(dim=0))


def test_smooth_leaves_a_bay_and_a_large_hole_open() -> None:
    masks = np.zeros((1, 10, 10), bool)
    masks[0, 0:9, 0:9] = True
    masks[0, 2:7, 2:7] = False
    concepts = concepts_of(masks)
    assert SmoothRefiner().uce_refine_masks(concepts, uniform(10), SmoothRefiner.Settings()) is concepts
    masks[0, 4, 7:] = False  # now the hole is a bay
    bay = SmoothRefiner().uce_refine_masks(concepts_of(masks), uniform(10), SmoothRefiner.Settings(holes=1))
    assert bay.masks.sum() == masks.sum()


def test_split_makes_instances_of_large_parts_and_keeps_small_ones_with_the_largest() -> None:
    masks = np.zeros((2, 10, 10), bool)
    masks[0, 0:3, 0:3] = masks[0, 5:9, 5:9] = masks[0, 0, 9] = True
    masks[1, 9, 0:3] = True
    attention = uniform(10)
    pixels = np.zeros((2, 20, 20), bool)
    concepts = concepts_of(masks, labels=["turtle", "cup"], pixel_masks=pixels, merge_threshold=0.3)
    result = SplitRefiner().uce_refine_masks(concepts, attention, SplitRefiner.Settings())
    assert [int(mask.sum()) for mask in result.masks] == [9, 17, 3]
    assert bool(result.masks[1, 0, 9]) and result.labels == ["turtle", "turtle", "cup"]
    assert result.pixel_masks is None and result.merge_threshold == 0.3
    torch.testing.assert_close(result.maps[2], concepts.maps[1].float())
    expected = attention.saliency[result.masks[1]].mean() / attention.saliency.mean()
    torch.testing.assert_close(result.scores[1], expected)


def test_split_leaves_whole_concepts_alone() -> None:
    concepts = concepts_of(on_grid(discs()[1]))
    attention = uniform(16)
    assert SplitRefiner().uce_refine_masks(concepts, attention, SplitRefiner.Settings()) is concepts
    assert len(SplitRefiner().uce_refine_masks(concepts.select([]), attention, SplitRefiner.Settings())) == 0


@pytest.mark.parametrize("plugin", [EdgesRefiner, SmoothRefiner, SplitRefiner], ids=lambda plugin: plugin.name)
def test_mask_refiners_describe_themselves(plugin: Any) -> None:
    assert ":" in (plugin.__doc__ or "").splitlines()[0]
    assert all(field.description for field in plugin.Settings.model_fields.values())
