"""Learning in the principal axes of words."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import uce
from uce.core.training.rows import TokenRows
from uce.core.training.word_axes import Coordinates, word_coordinates
from uce.plugins.backbones.stable_diffusion import StableDiffusionBackbonePlugin


@pytest.fixture(scope="module")
def mini():
    return StableDiffusionBackbonePlugin().uce_load_backbone(str(uce.model_path("mini")), None, "cpu", "float32")


def words(count: int = 40, width: int = 12, rank: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(3, 0.5, rank)[:, None]
    return torch.randn(count, rank, generator=generator) @ (scale * torch.randn(rank, width, generator=generator)) + 1


@given(st.integers(0, 1000), st.integers(1, 20))
def test_words_have_deviation_one_along_every_axis(seed, count):
    table = words(seed=seed)
    frame = Coordinates.of_words(table, count)
    assert frame.axes.shape[0] == min(count, 5)
    points = frame.from_vectors(table)
    assert torch.allclose(points.mean(0), torch.zeros(len(frame.axes)), atol=1e-4)
    assert torch.allclose(points.square().mean(0), torch.ones(len(frame.axes)), rtol=1e-3)


def test_all_axes_give_every_word_back():
    table = words()
    frame = Coordinates.of_words(table, 12)
    assert torch.allclose(frame.to_vectors(frame.from_vectors(table)), table, atol=1e-4)


def test_the_gradient_is_that_of_the_coordinates():
    frame, goal = Coordinates.of_words(words(), 3), torch.randn(2, 12)
    points = torch.randn(2, 3, requires_grad=True)
    vectors = frame.to_vectors(points)
    (expected,) = torch.autograd.grad((vectors - goal).square().sum(), points)
    assert torch.allclose(frame.gradient(2 * (vectors - goal).detach()), expected, rtol=1e-4, atol=1e-4)


def test_rows_move_within_the_span_of_words_and_resume():
    frame = Coordinates.of_words(words(), 3)

    def rows() -> TokenRows:
        made = TokenRows({"clip": torch.zeros(2, 1, 12)}, "cpu")
        made.coordinates = {"clip": frame}
        return made

    def step(of: TokenRows) -> None:
        (of.vectors["clip"] - words()[:2]).square().sum().backward()
        of.update(0.1, 0.0, 0.0)

    through = rows()
    for _ in range(3):
        step(through)
    points = frame.from_vectors(through.vectors["clip"])
    assert torch.allclose(frame.to_vectors(points), through.vectors["clip"], atol=1e-5)
    halfway, resumed = rows(), rows()
    step(halfway)
    step(halfway)
    resumed.restore(halfway.tensors(), 2)
    step(resumed)
    assert torch.equal(resumed.vectors["clip"], through.vectors["clip"])


def test_a_models_words_span_the_frame(mini):
    assert word_coordinates(mini, 0) == {}
    frame = word_coordinates(mini, 16)["clip"]
    assert frame.axes.shape == (16, mini.embedding_table("clip").shape[1])
