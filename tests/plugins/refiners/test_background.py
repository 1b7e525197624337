"""What is left becomes a concept: on the grid, in pixels, and never on padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import uce
from uce.core import Concepts
from uce.core.flow.picture import read_picture
from uce.plugins.refiners.background import BackgroundRefiner
from uce.plugins.refiners.edges import EdgesRefiner
from uce.testing import check_plugin, tiny_attention, tiny_concepts, tiny_picture


def refine(concepts: Concepts, image: Any = None, **settings: Any) -> Concepts:
    return BackgroundRefiner().uce_refine_masks(
        concepts, tiny_attention(concepts.grid), image, BackgroundRefiner.Settings(**settings)
    )


def things() -> Concepts:
    """The two things, without the background's cluster."""
    return tiny_concepts().select([1, 2])


def test_contract() -> None:
    check_plugin(BackgroundRefiner)


def test_what_is_left_is_appended_with_its_own_map_and_score() -> None:
    found, known = refine(things()), tiny_concepts()
    assert len(found) == 3 and found.pixel_masks is None and found.labels is None
    assert torch.equal(found.masks[:2], things().masks) and torch.equal(found.masks[2], known.masks[0])
    torch.testing.assert_close(found.maps[2], known.maps[0])
    torch.testing.assert_close(found.scores[2], known.scores[0])
    assert found.merge_threshold == known.merge_threshold


def test_too_little_is_no_concept() -> None:
    share = float(tiny_concepts().masks[0].float().mean())
    concepts = things()
    assert refine(concepts, smallest=share + 0.01) is concepts
    assert len(refine(concepts, smallest=share - 0.01)) == 3
    whole = tiny_concepts()
    assert refine(whole, smallest=0) is whole, "nothing is left"


def test_no_concepts_make_one_of_the_whole_picture() -> None:
    found = refine(tiny_concepts().select([]))
    assert len(found) == 1 and bool(found.masks.all())


def test_words_name_it() -> None:
    assert refine(replace(things(), labels=["cup", "cat"])).labels == ["cup", "cat", "background"]


def test_after_edges_every_pixel_belongs_to_someone() -> None:
    image = tiny_picture((40, 48))
    sharp = EdgesRefiner().uce_refine_masks(things(), image, EdgesRefiner.Settings())
    found = refine(sharp, image)
    assert found.pixel_masks is not None and sharp.pixel_masks is not None
    assert torch.equal(found.pixel_masks[:2], sharp.pixel_masks)
    assert bool((found.pixel_masks.sum(dim=0) == 1).all())


def test_padding_and_what_was_cropped_away_is_no_background() -> None:
    wide = np.zeros((20, 80, 3), np.uint8)
    padded = read_picture(wide, 32, "pad")
    found = refine(things(), padded)
    assert torch.equal(found.masks[2], padded.valid((8, 8)) & ~things().masks.any(dim=0))
    cropped = read_picture(wide, 32, "crop")
    concepts = replace(things(), pixel_masks=cropped.to_original(things().masks))
    pixels = refine(concepts, cropped).pixel_masks
    assert pixels is not None and not pixels[:, :, :30].any() and not pixels[:, :, 50:].any() and pixels[2].any()


def test_in_a_chain_by_name() -> None:
    concepts = uce.localize(tiny_attention(), refiner=["saliency", "merge", "background"], preset="paper")
    assert bool((concepts.masks.sum(dim=0) == 1).all()) and len(concepts) >= 2
