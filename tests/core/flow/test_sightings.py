"""The same things in another picture: which row is which, and what is not there."""

from __future__ import annotations

import torch

from uce.core.flow.sightings import Sighting, sightings_digest
from uce.testing import tiny_concepts, tiny_picture


def test_rows_are_those_of_the_run_and_what_is_not_there_has_no_cells() -> None:
    picture, found = tiny_picture(), tiny_concepts().select([0, 1])
    seen = Sighting.of(picture, found, [2, 0], 3)
    assert torch.equal(seen.concepts.masks[[2, 0]], found.masks) and not seen.concepts.masks[1].any()
    assert torch.equal(seen.concepts.maps[[2, 0]], found.maps)
    assert torch.allclose(seen.concepts.maps[1].sum(), torch.ones(()))
    assert seen.concepts.pixel_masks is not None and seen.concepts.pixel_masks.shape == (3, *picture.size)
    assert torch.equal(seen.concepts.pixel_masks[[2, 0]], picture.masks_of(found))


def test_the_digest_follows_every_mask_and_nothing_has_none() -> None:
    picture, found = tiny_picture(), tiny_concepts().select([0, 1])
    digests = {sightings_digest([Sighting.of(picture, found, rows, 2)]) for rows in ([0, 1], [1, 0])}
    assert len(digests) == 2 and sightings_digest([]) == ""
