"""Views of a training: where concepts are cut out, what they hold, and which prompt sees which."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import uce
from uce.core import Concepts
from uce.core.flow.picture import read_picture
from uce.core.training.views import Views, cut, zoom_frame
from uce.plugins.backbones.stable_diffusion import StableDiffusionBackbonePlugin


def square(top: int, left: int, height: int, width: int, side: int = 64) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_the_box_takes_the_share_asked_for_and_lies_in_the_centre():
    top, left, side = zoom_frame(square(10, 20, 16, 8), 0.5)
    assert side == 32
    assert (top + side / 2, left + side / 2) == (18, 24)


def test_outside_the_picture_the_edge_repeats_and_masks_end():
    picture = np.arange(16).reshape(4, 4)
    assert cut(picture, (-1, 2, 4), repeat=True).tolist()[0] == [2, 3, 3, 3]
    assert cut(picture, (-1, 2, 4), repeat=False).tolist() == [[0] * 4, [2, 3, 0, 0], [6, 7, 0, 0], [10, 11, 0, 0]]
    channels = np.ones((4, 4, 3))
    assert cut(channels, (2, 2, 4), repeat=False).sum() == 2 * 2 * 3


@pytest.fixture(scope="module")
def mini():
    return StableDiffusionBackbonePlugin().uce_load_backbone(str(uce.model_path("mini")), None, "cpu", "float32")


@pytest.fixture(scope="module")
def views(mini):
    picture = np.zeros((128, 128, 3), np.uint8)
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, 1:5, 1:5], masks[1, 8:12, 6:14] = True, True
    picture[8:40, 8:40], picture[64:96, 48:112] = 255, 128
    concepts = Concepts(masks=masks, maps=torch.full((2, 256), 1 / 256), scores=torch.ones(2))
    image = read_picture(picture, mini.picture_side)
    return {zoom: Views.make(mini, concepts, image, 0, zoom) for zoom in (0.0, 0.5)}


def test_without_zoom_there_is_the_whole_picture_only(views):
    whole = views[0.0]
    assert whole.latents.shape[:2] == (1, 2) and whole.masks.shape[:3] == (1, 2, 2)
    assert whole.masks[0, 0].flatten(1).sum(1).tolist() == [16, 32]
    assert whole.seen([(0,), (3,), (0, 1)]) == [0, 0, 0]


def test_a_concept_fills_its_own_view_and_its_prompts_see_it(views):
    zoomed = views[0.5]
    assert torch.allclose(zoomed.latents[0], views[0.0].latents[0], atol=1e-4)
    assert zoomed.latents.shape[0] == 3
    own = [float(zoomed.masks[1 + k, 0, k].mean()) for k in range(2)]
    assert own == pytest.approx([0.25, 0.125], abs=0.05)
    assert torch.equal(zoomed.masks[:, 1], zoomed.masks[:, 0].flip(-1))
    assert zoomed.seen([(0,), (3,), (0, 1)]) == [1, 2, 0]


def test_an_empty_mask_sees_the_whole_picture(mini):
    concepts = Concepts(
        masks=torch.zeros(1, 16, 16, dtype=torch.bool), maps=torch.full((1, 256), 1 / 256), scores=torch.ones(1)
    )
    image = read_picture(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8), mini.picture_side)
    made = Views.make(mini, concepts, image, 0, 0.8)
    assert torch.allclose(made.latents[0], made.latents[1], atol=1e-4)


@pytest.mark.parametrize("zoomed", [False, True])
def test_pictures_take_turns_among_those_that_show_the_concepts(zoomed):
    both, first_only = torch.ones(2, 2, 4, 4), torch.ones(2, 2, 4, 4)
    first_only[:, 1] = 0
    per = 3 if zoomed else 1  # the whole picture, and a view of each concept
    pictures = [Views(torch.zeros(per, 2, 1, 4, 4), masks.expand(per, -1, -1, -1, -1)) for masks in (both, first_only)]
    views = Views.of_all(pictures)
    assert views.num_pictures == 2 and views.per_picture == per
    own = [1, 2, 0] if zoomed else [0, 0, 0]
    prompts = [(2,), (1,), (0, 1)]  # row 2 is a split token of concept 0
    assert views.seen(prompts, turn=0) == own
    assert views.seen(prompts, turn=1) == [own[0] + per, *own[1:]]
    assert views.seen(prompts, turn=2) == own
    assert pictures[0].seen(prompts, turn=1) == own
