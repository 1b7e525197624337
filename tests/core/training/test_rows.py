"""AdamW over token rows is torch's, and survives merging and saving."""

from __future__ import annotations

import torch

from uce.core.training.rows import TokenRows


def make(seed: int = 0) -> TokenRows:
    generator = torch.Generator().manual_seed(seed)
    return TokenRows({"clip": torch.randn(2, 3, 8, generator=generator)}, "cpu")


def gradient(rows: TokenRows, seed: int, size: float = 1.0) -> torch.Tensor:
    return torch.randn(rows.vectors["clip"].shape, generator=torch.Generator().manual_seed(seed)) * size


def test_equals_torch_bit_for_bit():
    rows = make()
    parameter = rows.vectors["clip"].detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([parameter], lr=5e-4, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8, foreach=False)
    for i in range(20):
        rows.vectors["clip"].grad, parameter.grad = gradient(rows, i), gradient(rows, i)
        rows.update(5e-4, 1e-2, clip=0)
        optimizer.step()
        assert torch.equal(rows.vectors["clip"], parameter)


def test_rows_are_splits_of_all_concepts_in_turn():
    starts = torch.arange(6.0).reshape(2, 3, 1)  # concept 0 starts from 0, 1, 2
    rows = TokenRows({"clip": starts}, "cpu")
    assert rows.vectors["clip"][:, 0].tolist() == [0, 3, 1, 4, 2, 5]
    rows.first["clip"] += torch.arange(6.0)[:, None]
    rows.second["clip"] += torch.arange(6.0)[:, None] + 10
    rows.merge()
    assert rows.vectors["clip"][:, 0].tolist() == [1, 4]
    assert rows.first["clip"][:, 0].tolist() == [0, 1] and rows.second["clip"][:, 0].tolist() == [10, 11]
    assert rows.num_rows == 2 and rows.vectors["clip"].requires_grad


def test_clipping_bounds_the_norm_over_all_rows():
    clipped, free = make(), make()
    clipped.vectors["clip"].grad = gradient(clipped, 1, 50.0)
    free.vectors["clip"].grad = gradient(free, 1, 50.0)
    free.vectors["clip"].grad /= free.vectors["clip"].grad.norm()
    clipped.update(1e-3, 0.0, clip=1.0)
    free.update(1e-3, 0.0, clip=0.0)
    assert torch.allclose(clipped.first["clip"], free.first["clip"], rtol=1e-5)


def test_scaled_loss_gives_the_same_update():
    plain, scaled = make(), make()
    plain.vectors["clip"].grad = gradient(plain, 1)
    scaled.vectors["clip"].grad = gradient(scaled, 1) * 1024
    plain.update(1e-3, 0.0, clip=1.0)
    scaled.update(1e-3, 0.0, clip=1.0, scale=1024)
    assert torch.equal(plain.vectors["clip"], scaled.vectors["clip"])


def test_restored_rows_go_on_with_the_same_bytes():
    whole, stopped = make(), make()
    for i in range(6):
        for rows in (whole, stopped) if i < 3 else (whole,):
            rows.vectors["clip"].grad = gradient(rows, i)
            rows.update(1e-3, 1e-2, 1.0)
    resumed = make(seed=9)
    resumed.restore(stopped.tensors(), stopped.num_updates)
    for i in range(3, 6):
        resumed.vectors["clip"].grad = gradient(resumed, i)
        resumed.update(1e-3, 1e-2, 1.0)
    assert torch.equal(resumed.vectors["clip"], whole.vectors["clip"])


def test_limit_shortens_long_rows_and_leaves_the_others():
    rows = TokenRows({"clip": torch.tensor([[[3.0, 4.0]], [[0.3, 0.4]]])}, "cpu")
    rows.limit({"clip": 1.0})
    assert torch.allclose(rows.vectors["clip"].detach(), torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    rows.limit({})
    assert rows.vectors["clip"].requires_grad


def test_a_token_of_several_vectors_has_a_row_for_each_and_keeps_them_apart_when_splits_merge() -> None:
    starts = torch.arange(2 * 3 * 4).float().reshape(2, 3, 4, 1).repeat(1, 1, 1, 5)  # K = 2, S = 3, n = 4
    rows = TokenRows({"clip": starts}, "cpu")
    assert rows.num_rows == 24 and rows.merged_rows == 8
    for split in range(3):
        for concept in range(2):
            own = rows.vectors["clip"].detach()[rows.slots(split * 2 + concept)]
            assert torch.equal(own, starts[concept, split])
    rows.merge()
    merged = rows.of_concepts(rows.vectors)["clip"]
    assert merged.shape == (2, 4, 5) and torch.equal(merged, starts.mean(dim=1))
    assert torch.equal(rows.vectors["clip"].detach()[rows.slots(1)], starts.mean(dim=1)[1])
