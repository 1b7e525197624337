"""What trains `mini`: batches are the same whoever draws them, and many matrices are made orthogonal as one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.mini.batches import Batch, Batches, Mixture, object_words
from recipes.mini.captions import words_of_captions
from recipes.mini.muon import Muon, orthogonalise
from recipes.mini.shards import MOST, SIZE, Shard, shard_path
from recipes.mini.tokenizer import make_tokenizer
from uce.scenes.things import VARIANTS

OBJECTS = 5


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """Batches of six pictures, two of them grounded, from one shard of scenes of one or two things."""
    rng = np.random.default_rng(0)
    stems = np.full((SIZE, MOST), -1, np.int16)
    stems[:, 0] = rng.integers(0, OBJECTS, SIZE)
    stems[::2, 1] = rng.integers(0, OBJECTS, SIZE // 2)
    shard = Shard(
        latents=rng.normal(size=(SIZE, 16, 4, 4)).astype(np.float16),
        labels=rng.integers(0, 3, (SIZE, 4, 4)).astype(np.uint8),
        stems=stems,
        variants=rng.integers(0, len(VARIANTS), (SIZE, MOST)).astype(np.int8),
        backgrounds=np.zeros(SIZE, np.int8),
    )
    (tmp_path / "shards").mkdir()
    np.savez(shard_path(tmp_path, 3, 0), **{name: getattr(shard, name) for name in Shard.__dataclass_fields__})
    tokenizer = make_tokenizer(words_of_captions() + object_words({"a": "ball"}), tmp_path / "tokenizer")
    mixture = Mixture(seed=3, size=6, grounded=2, shards=1, processes=1, several=0.5, unnamed=1.0)
    return Batches(tmp_path, tokenizer, mixture, np.arange(OBJECTS) == 0)


def same(first: Batch, second: Batch) -> bool:
    names = ("latents", "labels", "ids", "where", "things", "mentioned", "timesteps")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_workers_draw_the_batches_that_a_step_has_in_order(batches: Batches) -> None:
    ahead = batches.from_step(4, 8, workers=2)
    for step in range(4, 8):
        assert same(next(ahead), batches[step])
    assert not same(batches[4], batches[5])
    assert next(ahead, None) is None


def test_a_batch_mentions_what_its_scenes_show(batches: Batches) -> None:
    batch = batches[0].to(torch.device("cpu"))
    assert batch.num_empty == 1
    assert (batch.where[:, 0] > 0).all(), "the first picture has the empty prompt"
    assert ((batch.things[:, 0] >= 0) & (batch.things[:, 0] < OBJECTS)).all()
    assert (batch.things[:, 1] < len(VARIANTS)).all()
    assert batch.mentioned[batch.where[:, 0], batch.where[:, 1], 1:].any(dim=1).all()
    assert not batch.mentioned[..., 0].any(), "the background is never mentioned"


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_matrices_become_nearly_orthogonal_alone_or_together(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    together = orthogonalise(matrices)
    values = torch.linalg.svdvals(together)
    assert values.min() > 0.5 and values.max() < 1.4
    for one, matrix in zip(together, matrices, strict=True):
        assert torch.allclose(one, orthogonalise(matrix), atol=0.02)


def test_muon_goes_down_whatever_the_gradients_size() -> None:
    weights = [torch.nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(n))) for n in range(2)]
    goal = torch.eye(8)

    def error() -> torch.Tensor:
        return sum(((scale * (w - goal)) ** 2).sum() for scale, w in zip((1.0, 100.0), weights, strict=True))  # type: ignore[return-value]

    optimizer, first = Muon(weights, lr=0.05), error().item()
    for _ in range(160):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert error().item() < 0.2 * first
