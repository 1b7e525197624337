"""Encoders: each rule, with an encoder that breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uce
from uce.core import ModelError
from uce.testing import ContractError, check_plugin


def encoder(encode: Any, description: Any = "mean colours", error: Exception | None = None) -> type:
    """A plugin whose encoder is made of these."""

    class Loaded:
        def __init__(self) -> None:
            self.description = description

        def encode(self, pictures: Any) -> Any:
            return encode(pictures)

    class Sample:
        """A sample."""

        @uce.hookimpl
        def uce_load_encoder(self) -> Any:
            if error is not None:
                raise error
            return None if encode is None else Loaded()

    return Sample


def means(pictures: Any) -> Any:
    return np.stack([picture.mean(axis=(0, 1)) for picture in pictures]).astype(np.float32)


def test_a_good_one_and_one_whose_weights_are_not_here() -> None:
    assert check_plugin(encoder(means)).stages == ("encoder",)
    check_plugin(encoder(means, error=ModelError("the weights are missing; give encoder.model=FOLDER")))


def scribble(pictures: Any) -> Any:
    found = means(pictures)
    pictures[0][:] = 0
    return found


def drawn(pictures: Any) -> Any:
    return means(pictures) + np.random.rand(3).astype(np.float32)


def by_the_batch(pictures: Any) -> Any:
    found = means(pictures)
    return found - found.mean(axis=0) + 1


@pytest.mark.parametrize(
    ("sample", "rule"),
    [
        (encoder(None), "an encoder"),
        (encoder(means, description=""), "description"),
        (encoder(means, error=ModelError("no\nweights are here")), "error style"),
        (encoder(means, error=ValueError("oh")), "error style"),
        (encoder(lambda pictures: means(pictures).astype(np.float64)), "features"),
        (encoder(lambda pictures: means(pictures)[:1]), "features"),
        (encoder(lambda pictures: means(pictures) * np.float32(np.nan)), "finite features"),
        (encoder(lambda pictures: np.ones((len(pictures), 3), np.float32)), "pictures told apart"),
        (encoder(scribble), "inputs unchanged"),
        (encoder(drawn), "nothing global"),
        (encoder(by_the_batch), "each picture by itself"),
    ],
)
def test_broken_encoders(sample: type, rule: str) -> None:
    with pytest.raises(ContractError, match="breaks the rule") as caught:
        check_plugin(sample)
    assert caught.value.rule == rule, caught.value


def test_one_that_remembers() -> None:
    calls: list[int] = []

    def counting(pictures: Any) -> Any:
        calls.append(1)
        return means(pictures) + len(calls)

    with pytest.raises(ContractError, match="same pictures, same features"):
        check_plugin(encoder(counting))
