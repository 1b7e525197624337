"""A thing on its picture's own background and on others."""

from __future__ import annotations

import numpy as np

from uce.evaluation.sources import OTHERS, cropped, on_backgrounds, squared


def test_a_thing_on_backgrounds_by_hand() -> None:
    """The thing's pixels stay; the other thing gives way to the mean of what is behind both."""
    picture = np.full((6, 6, 3), 100, np.uint8)
    picture[5] = 130
    mask, other = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    mask[:2, :2], other[3, 3] = True, True
    picture[mask], picture[other] = (250, 0, 0), (0, 0, 250)
    scenes = on_backgrounds(picture, mask, mask | other)
    assert len(scenes) == 1 + len(OTHERS)
    assert all((scene[mask] == (250, 0, 0)).all() for scene in scenes)
    own = scenes[0]
    mean = round((25 * 100 + 6 * 130) / 31)
    assert (own[3, 3] == mean).all() and (own[5] == 130).all() and (own[2] == 100).all()
    outside = [scene[~mask] for scene in scenes]
    assert all((outside[a] != outside[b]).any() for a in range(8) for b in range(a))


def test_without_a_background_there_is_nothing_to_leak() -> None:
    everything = np.ones((4, 4), bool)
    assert on_backgrounds(np.zeros((4, 4, 3), np.uint8), everything, everything) == []


def test_things_are_recognised_cropped_on_grey() -> None:
    picture, mask = np.full((10, 10, 3), 200, np.uint8), np.zeros((10, 10), bool)
    mask[2:8, 4:6] = True
    found = cropped(picture, mask)
    assert found.shape == (7, 7, 3) and set(np.unique(found)) == {128, 200}
    assert (found == 200).all(axis=2).sum() == mask.sum()
    assert squared(found, 16, "pad", 128).shape == (16, 16, 3)
