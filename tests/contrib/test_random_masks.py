"""Random masks look at nothing but the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from uce.contrib.random_masks import RandomMasksClusterer
from uce.core import AttentionMaps, Context
from uce.core.flow.picture import read_picture
from uce.testing import check_plugin


def maps(side: int = 32) -> AttentionMaps:
    num = side * side
    return AttentionMaps(torch.full((num, num), 1 / num), torch.zeros(side, side))


def labels(seed: int = 0, side: int = 32, image: object = None, **settings: object) -> torch.Tensor:
    plugin = RandomMasksClusterer()
    chosen = plugin.Settings(**settings)
    return plugin.uce_cluster(maps(side), image, chosen, Context(seed=seed, stage="clusterer")).labels


def test_contract() -> None:
    check_plugin(RandomMasksClusterer)


def test_counts_and_shares_are_as_asked() -> None:
    found = [labels(seed) for seed in range(60)]
    counts = {int(f.max()) + 1 for f in found}
    assert counts <= {1, 2, 3, 4, 5} and len(counts) >= 4
    single = [labels(seed, fewest=1, most=1, smallest=0.1, largest=0.1) for seed in range(60)]
    shares = [float((s == 0).float().mean()) for s in single]
    assert max(shares) <= 0.11 and np.mean(shares) > 0.05  # a mask at the border loses what lies outside
    assert all(int(s.min()) == -1 for s in single)


def test_labels_are_numbered_without_holes() -> None:
    for seed in range(40):
        found = labels(seed, side=6, fewest=5, most=5)
        names = torch.unique(found[found >= 0]).tolist()
        assert names == list(range(len(names))) and names


def test_every_picture_gets_masks_of_its_own() -> None:
    pictures = [read_picture(np.full((8, 8, 3), value, np.uint8), 8) for value in (10, 200)]
    first, second = (labels(image=picture) for picture in pictures)
    assert not torch.equal(first, second)
    assert torch.equal(first, labels(image=pictures[0]))


def test_settings_in_disorder_are_refused() -> None:
    with pytest.raises(ValidationError, match="fewest must not exceed most"):
        RandomMasksClusterer.Settings(fewest=4, most=2)
