"""The attention term: its targets, both distances on one scale, and which pairs it compares."""

from __future__ import annotations

import pytest
import torch

from uce.core import LayerMap, StageInputError
from uce.core.training.alignment import REG, Alignment, choose_layers
from uce.core.training.options import TrainingOptions
from uce.core.training.sinkhorn import kl
from uce.testing import tiny_backbone, tiny_concepts


def prepared(**options: object) -> Alignment:
    backbone = tiny_backbone()
    chosen = TrainingOptions(**options)  # type: ignore[arg-type]
    return Alignment.prepare(backbone, tiny_concepts(), backbone.tokenize(""), chosen)


def test_targets_are_the_maps_and_their_mirror_images() -> None:
    alignment = prepared()
    height, width = alignment.grid
    maps = alignment.targets.reshape(2, -1, height, width)
    assert torch.equal(maps[1], maps[0].flip(-1)) and not torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], tiny_concepts().maps.reshape(-1, 8, 8)) or alignment.grid != (8, 8)


def test_kl_is_on_the_scale_of_sinkhorn() -> None:
    """The entropic weight times the number of iterations: one weight then serves both distances."""
    generator = torch.Generator().manual_seed(1)
    target, attention = (torch.rand(3, 64, generator=generator) + 0.1 for _ in range(2))
    for iterations in (50, 200):
        alignment = prepared(alignment="kl", alignment_iterations=iterations)
        assert torch.allclose(alignment.distances(target, attention), kl(target, attention) * REG * iterations)


def test_both_distances_pull_alike() -> None:
    """While no mass moves, Sinkhorn's gradient is nearly that of kl, and of its size."""
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(1, 64, generator=generator) + 0.1
    attention = torch.rand(1, 64, generator=generator) + 0.1
    gradients = []
    for distance in ("kl", "sinkhorn"):
        alignment = prepared(alignment=distance)
        leaf = attention.clone().requires_grad_()
        alignment.distances(target, leaf).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(leaf.grad)
    one, two = gradients
    assert one is not None and two is not None
    assert torch.nn.functional.cosine_similarity(one, two) > 0.9
    assert 0.2 < float(one.norm() / two.norm()) < 5


def test_each_pair_takes_its_own_prompt_column_flip_and_concept() -> None:
    alignment = prepared(alignment="kl")
    generator = torch.Generator().manual_seed(3)
    cells = alignment.targets.shape[-1]
    name = min(alignment.layers)
    probs = torch.rand(2, cells, 3, generator=generator) + 0.1
    layer = LayerMap(name, "cross", alignment.grid, 2, probs)
    other = LayerMap("elsewhere", "cross", alignment.grid, 2, probs * 0 + 9)
    found = alignment.losses([layer, other], [(0, 2, 1, 0), (1, 0, 0, 1)])
    first = alignment.distances(alignment.targets[1, 0][None], probs[0, :, 2][None])
    second = alignment.distances(alignment.targets[0, 1][None], probs[1, :, 0][None])
    assert torch.allclose(found, torch.cat([first, second]))


def test_a_side_that_no_layer_has() -> None:
    maps = [LayerMap("down.0", "cross", (8, 8), 1, torch.ones(1, 64, 1))]
    assert choose_layers(maps, 8)[0] == (8, 8)
    with pytest.raises(StageInputError, match=r"no cross-attention layer has 5 cells per side; .*alignment_side: 8"):
        choose_layers(maps, 5)
