"""What clusterers are shown of maps and pictures whose things are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from uce.core import AttentionMaps, NothingFoundError, StageInputError
from uce.core.flow.picture import Picture, read_picture
from uce.plugins.foregrounds.none import NoForeground
from uce.plugins.foregrounds.salient import SalientForeground
from uce.testing import check_plugin, tiny_attention

GRID = 16


def found(maps: AttentionMaps, image: Picture | None = None, **settings: Any) -> AttentionMaps:
    plugin = SalientForeground()
    chosen = plugin.Settings(**{"threshold": 1.0} | settings)  # maps made by hand are blurred
    return plugin.uce_find_foreground(maps, image, chosen)


def maps_of(truth: np.ndarray) -> AttentionMaps:
    """Cells attend to near cells of their own kind; things (above 0) are salient."""
    kind = truth.ravel()
    y, x = (axis.ravel() for axis in np.indices(truth.shape))
    apart = np.hypot(y[:, None] - y[None], x[:, None] - x[None])
    weights = np.where(kind[:, None] == kind[None], 1.0, 0.002) * np.exp(-apart / 4)
    affinity = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).float()
    return AttentionMaps(affinity, torch.from_numpy(truth > 0).float())


def two_things() -> tuple[AttentionMaps, np.ndarray]:
    """Two squares side by side."""
    truth = np.zeros((GRID, GRID), int)
    truth[5:11, 2:7], truth[5:11, 9:14] = 1, 2
    return maps_of(truth), truth


@pytest.mark.parametrize("plugin", [SalientForeground, NoForeground])
def test_contract(plugin: type) -> None:
    check_plugin(plugin)


def test_none_gives_the_maps_as_they_came() -> None:
    maps = tiny_attention()
    assert NoForeground().uce_find_foreground(maps) is maps


def test_rows_of_one_thing_agree_and_those_of_others_do_not() -> None:
    maps, truth = two_things()
    shown = found(maps)
    assert shown.foreground is not None
    inside = shown.foreground.numpy()
    assert (inside == (truth > 0)).mean() > 0.95
    rows = shown.affinity.numpy()
    one, two = (np.flatnonzero((truth == thing).ravel() & inside.ravel()) for thing in (1, 2))

    def apart(first: int, second: int) -> float:
        return float(np.abs(rows[first] - rows[second]).sum()) / 2

    before = maps.affinity.numpy()
    assert np.abs(before[one[0]] - before[one[-1]]).sum() / 2 > 0.2  # attention to what is near
    assert apart(one[0], one[-1]) < 0.05 and apart(two[0], two[-1]) < 0.05
    assert apart(one[0], two[0]) > 0.9


def test_the_background_is_one_row_and_what_was_read_stays_known() -> None:
    maps, _ = two_things()
    shown = found(maps)
    assert shown.foreground is not None and shown.extracted is not None
    outside = shown.affinity[~shown.foreground.flatten()]
    assert torch.equal(outside, outside[:1].expand_as(outside))
    assert float(outside[:, shown.foreground.flatten()].max()) == 0
    assert torch.equal(shown.raw, maps.affinity) and torch.equal(found(shown).affinity, shown.affinity)


def test_a_crumb_is_no_foreground() -> None:
    truth = np.zeros((GRID, GRID), int)
    truth[5:11, 2:7], truth[13, 13] = 1, 2
    maps = maps_of(truth)
    every, large = (found(maps, smallest=share).foreground for share in (0.0, 0.02))
    assert every is not None and np.array_equal(every.numpy(), truth > 0)
    assert large is not None and np.array_equal(large.numpy(), truth == 1)


def test_a_faint_part_is_no_foreground() -> None:
    maps, truth = two_things()
    saliency = torch.from_numpy(np.array([0, 1, 0.5])[truth]).float()
    maps = AttentionMaps(maps.affinity, saliency)
    both, one = (found(maps, threshold=0.6, faintest=share).foreground for share in (0.0, 0.8))
    assert both is not None and np.array_equal(both.numpy(), truth > 0)
    assert one is not None and np.array_equal(one.numpy(), truth == 1)


def empty(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 255, 96)
    return {
        "grey": np.full((96, 96, 3), 128, np.uint8),
        "noise": rng.integers(0, 256, (96, 96, 3), dtype=np.uint8),
        "faint noise": np.clip(rng.normal(128, 5, (96, 96, 3)), 0, 255).astype(np.uint8),
        "gradient": np.broadcast_to(slope[None, :, None], (96, 96, 3)).astype(np.uint8),
        "two gradients": np.stack([np.tile(slope, (96, 1)), np.tile(slope, (96, 1)).T, np.full((96, 96), 90)], 2),
    }[kind].astype(np.uint8)


@pytest.mark.parametrize("kind", ["grey", "noise", "faint noise", "gradient", "two gradients"])
def test_a_picture_with_nothing_in_it_is_refused(kind: str) -> None:
    image = read_picture(empty(kind), 128)
    with pytest.raises(NothingFoundError, match=r"nothing stands out in this picture: .* lower foreground\.contrast"):
        found(tiny_attention((16, 16)), image)
    assert found(tiny_attention((16, 16)), image, contrast=0).foreground is not None


@pytest.mark.parametrize("size", [6, 40, 94])
def test_a_small_thing_and_one_that_fills_the_picture_are_not_refused(size: int) -> None:
    picture = empty("grey")
    start = (96 - size) // 2
    picture[start : start + size, start : start + size] = (170, 120, 60)
    assert found(tiny_attention((16, 16)), read_picture(picture, 128)).foreground is not None


def test_a_foreground_must_fit_the_maps() -> None:
    maps = tiny_attention()
    with pytest.raises(StageInputError, match=r"foreground must be \(8, 8\) like the saliency and hold cells, found 0"):
        AttentionMaps(maps.affinity, maps.saliency, foreground=torch.zeros(8, 8, dtype=torch.bool))
    with pytest.raises(StageInputError, match=r"extracted must be \(64, 64\) like the affinity, found \(2, 2\)"):
        AttentionMaps(maps.affinity, maps.saliency, extracted=torch.eye(2))
