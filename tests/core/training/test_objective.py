"""Layers, masks and errors of the training objective."""

from __future__ import annotations

import pytest
import torch

from uce.core import LayerMap, StageInputError
from uce.core.training.alignment import average_layers, choose_layers, resize_maps
from uce.core.training.objective import masked_squared_error, spread_timesteps
from uce.core.training.schedule import Schedule
from uce.core.training.views import resize_masks, widen_masks


def layer(name: str, side: int, heads: int = 1, value: float = 1.0) -> LayerMap:
    return LayerMap(name, "cross", (side, side), heads, torch.full((1, side * side, 2), value))


@pytest.mark.parametrize(
    ("sides", "chosen"),
    [([64, 32, 16, 8], 16), ([16, 8, 4], 16), ([64, 32], 32), ([24, 12, 6], 12), ([8], 8)],
)
def test_largest_side_of_at_most_sixteen(sides, chosen):
    maps = [layer(f"down_blocks.{i}", side) for i, side in enumerate(sides)]
    grid, names = choose_layers(maps)
    assert grid == (chosen, chosen) and names == {f"down_blocks.{sides.index(chosen)}"}


def test_mid_block_only_where_nothing_else_is():
    down, mid = layer("down_blocks.0.attn2", 8), layer("mid_block.attn2", 8)
    assert choose_layers([down, mid])[1] == {"down_blocks.0.attn2"}
    assert choose_layers([mid])[1] == {"mid_block.attn2"}


def test_no_cross_attention():
    with pytest.raises(StageInputError, match=r"no cross-attention to align; set optimizer.attention_weight=0"):
        choose_layers([])


def test_layers_count_by_heads():
    mean = average_layers([layer("a", 4, heads=1, value=1.0), layer("b", 4, heads=3, value=5.0)])
    assert torch.allclose(mean, torch.tensor(4.0))


def test_maps_are_every_fourth_cell():
    maps = torch.arange(64.0 * 64).reshape(1, -1)
    assert torch.equal(resize_maps(maps, (64, 64), (16, 16))[0], maps.reshape(64, 64)[::4, ::4])


def test_masks_on_a_finer_and_a_coarser_grid():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2, :2] = True
    masks[1, 3, 3] = True  # a quarter of a coarse cell: kept, since nothing of this mask would be left
    assert torch.equal(resize_masks(masks, (4, 4)), masks)
    assert resize_masks(masks, (8, 8)).sum(dim=(1, 2)).tolist() == [16, 4]
    assert resize_masks(masks, (2, 2)).int().tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]]]
    assert resize_masks(masks[:1] & False, (2, 2)).sum() == 0


def test_masked_error_divides_by_all_elements_or_by_the_mask():
    prediction, target = torch.full((1, 2, 4, 4), 3.0), torch.ones(1, 2, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, :2] = 1
    assert masked_squared_error(prediction, target, mask, "elements").item() == pytest.approx(4 * 2 / 16)
    assert masked_squared_error(prediction, target, mask, "mask").item() == pytest.approx(4)
    assert masked_squared_error(prediction, target, mask * 0, "mask").item() == 0


def test_papers_number_of_updates():
    schedule = Schedule(500, 100, 3, 5, batched=False, groups=((0, 1, 2),))
    assert schedule.total == 3100 and schedule.split_updates == 1500
    updates = list(schedule.updates(1499))
    assert [update.prompts for update in updates[:5]] == [((14,),), ((0,),), ((1,),), ((2,),), ((0, 1, 2),)]
    assert updates[0].number == 1500 and updates[-1].number == 3100 and updates[-1].step == 500


def test_merge_after_the_end_and_without_splits():
    assert Schedule(3, 100, 2, 5, False, ((0, 1),)).total == 3 * 10
    assert Schedule(3, 100, 2, 1, False, ((0, 1),)).total == 3 * 3


def test_spread_timesteps_cover_the_range_evenly():
    visits = torch.stack([spread_timesteps(torch.tensor([0.3, 0.9]), visit, 100, 900) for visit in range(1, 41)])
    assert visits.dtype is torch.int64 and visits.min() >= 100 and visits.max() < 900
    for prompt in visits.T:
        counts = torch.histc(prompt.float(), bins=8, min=100, max=900)
        assert counts.min() >= 4 and counts.max() <= 6


def test_widened_masks_grow_but_never_into_each_other():
    masks = torch.zeros(2, 3, 5, dtype=torch.bool)
    masks[0, 1, 1] = masks[1, 1, 3] = True
    assert torch.equal(widen_masks(masks, 0), masks.float())
    wide = widen_masks(masks, 1)
    assert wide[0].sum() == 9 and wide[1].sum() == 9
    wider = widen_masks(masks, 2)
    assert wider[0, 1, 3] == 0 == wider[1, 1, 1] and wider[0, 1, 2] == 1
