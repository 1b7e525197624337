from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from uce.core.errors import StageInputError
from uce.core.model.aggregate import aggregate_self_attention, mean_cross_attention, normalize_rows, saliency_from
from uce.core.model.backbone import LayerMap


def layer(
    side: int, *, heads: int = 2, columns: int | None = None, seed: int = 0, height: int | None = None
) -> LayerMap:
    grid = (height or side, side)
    cells = grid[0] * grid[1]
    keys = columns or cells
    probs = torch.rand(1, cells, keys, generator=torch.Generator().manual_seed(seed)).softmax(dim=-1)
    return LayerMap(f"down.{seed}", "cross" if columns else "self", grid, heads, probs)


def by_the_book(maps: list[LayerMap], side: int) -> Tensor:
    """The paper's words, one layer and one query at a time."""
    total, weights = torch.zeros(side * side, side * side), 0.0
    for one in maps:
        own = one.grid[0]
        keys = interpolate(one.probs[0].reshape(-1, 1, own, own), size=(side, side), mode="bilinear")[:, 0].flatten(1)
        for row in range(side):
            for column in range(side):
                source = (row * own // side) * own + column * own // side
                total[row * side + column] += keys[source] * own / side
        weights += own / side
    return total / weights


def test_aggregate_does_what_the_paper_says() -> None:
    maps = [layer(8, seed=0), layer(4, seed=1), layer(4, seed=2), layer(2, seed=3)]
    assert torch.allclose(aggregate_self_attention(maps, (8, 8)), by_the_book(maps, 8), atol=1e-7)


@pytest.mark.parametrize("normalize", [False, True])
def test_queries_between_those_of_a_coarse_layer(normalize: bool) -> None:
    """A 1 x 2 layer on a 1 x 4 grid: its queries lie at cells .5 and 2.5, so three quarters and a quarter between."""
    probs = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]])
    coarse, fine = LayerMap("down.0", "self", (1, 2), 2, probs), layer(4, height=1)
    keys = interpolate(probs[0].reshape(-1, 1, 1, 2), size=(1, 4), mode="bilinear")[:, 0, 0]
    keys = keys / keys.sum(dim=1, keepdim=True) if normalize else keys
    between = torch.stack([keys[0], 0.75 * keys[0] + 0.25 * keys[1], 0.25 * keys[0] + 0.75 * keys[1], keys[1]])
    found = aggregate_self_attention([coarse, fine], (1, 4), normalize_layers=normalize, interpolate_queries=True)
    assert torch.allclose(found, (0.5 * between + fine.probs[0]) / 1.5, atol=1e-6)


def test_interpolating_queries_changes_no_layer_of_the_grids_own_size() -> None:
    maps = [layer(8), layer(8, seed=1)]
    found = [aggregate_self_attention(maps, (8, 8), interpolate_queries=choice) for choice in (False, True)]
    assert torch.equal(*found)


def test_queries_are_interpolated_along_both_axes() -> None:
    one, grid = layer(3, height=2), (6, 5)
    keys = interpolate(one.probs[0].reshape(-1, 1, 2, 3), size=grid, mode="bilinear")[:, 0].flatten(1)
    expected = interpolate(keys.T.reshape(-1, 1, 2, 3), size=grid, mode="bilinear")[:, 0].flatten(1).T
    assert torch.allclose(aggregate_self_attention([one], grid, interpolate_queries=True), expected, atol=1e-6)


def test_order_of_layers_does_not_matter() -> None:
    maps = [layer(8, seed=0), layer(4, seed=1), layer(8, seed=2)]
    found = [aggregate_self_attention(order, (8, 8)) for order in (maps, maps[::-1])]
    assert torch.allclose(*found, atol=1e-7)


def test_a_layer_of_the_grids_own_size_is_kept_as_it_is() -> None:
    one = layer(8)
    before = one.probs.clone()
    assert torch.allclose(aggregate_self_attention([one], (8, 8)), one.probs[0])
    assert torch.equal(one.probs, before)


def test_coarse_rows_sum_to_more_unless_layers_are_normalised() -> None:
    maps = [layer(8), layer(4, seed=1)]
    assert float(aggregate_self_attention([maps[1]], (8, 8)).sum(dim=1)[0]) == pytest.approx(4)
    rows = aggregate_self_attention(maps, (8, 8), normalize_layers=True).sum(dim=1)
    assert torch.allclose(rows, torch.ones(64), atol=1e-5)


def test_grids_that_are_not_square_or_not_multiples() -> None:
    maps = [layer(6, height=3), layer(4, height=2, seed=1)]
    affinity = normalize_rows(aggregate_self_attention(maps, (3, 6)))
    assert affinity.shape == (18, 18) and torch.allclose(affinity.sum(dim=1), torch.ones(18), atol=1e-6)


def test_no_maps_are_refused() -> None:
    with pytest.raises(StageInputError, match="no self-attention layers to read; choose another extractor"):
        aggregate_self_attention([], (8, 8))


def test_cross_attention_counts_heads_not_layers() -> None:
    one, other = layer(4, heads=1, columns=3, seed=1), layer(4, heads=3, columns=3, seed=2)
    found = mean_cross_attention([one, other, layer(8, columns=3)], (4, 4))
    assert torch.allclose(found, (one.probs / 4 + other.probs * 3 / 4).reshape(1, 4, 4, 3))


def test_cross_attention_of_no_layer_is_refused() -> None:
    with pytest.raises(StageInputError, match="no cross-attention layer has a grid of 2 x 2; found: 4 x 4, 8 x 8"):
        mean_cross_attention([layer(8, columns=3), layer(4, columns=3)], (2, 2))


def test_saliency_is_stretched_to_one() -> None:
    found = saliency_from(torch.rand(4, 4, generator=torch.Generator().manual_seed(0)), (16, 16))
    assert found.shape == (16, 16) and float(found.min()) == 0 and float(found.max()) == 1


@pytest.mark.parametrize("value", [0.0, 0.05, 1.0])
def test_constant_saliency_is_zero(value: float) -> None:
    assert not saliency_from(torch.full((4, 4), value), (16, 16)).any()
