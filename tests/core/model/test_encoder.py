"""From pictures to an encoder's input: scaled, cut to the centre, normalised; a batch is its pictures."""

from __future__ import annotations

import numpy as np
import torch

from uce.core.model.encoder import BATCH, encode_in_batches


def encode(pictures: list[np.ndarray], scale: int = 8, side: int = 4) -> np.ndarray:
    return encode_in_batches(
        pictures, lambda pixels: pixels.flatten(1), scale, side, (0.5, 0.25, 0), (0.5, 1, 2), "cpu"
    )


def test_the_centre_normalised_by_channel() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[2:6, 2:6] = (255, 51, 102)
    found = encode([picture]).reshape(3, 4, 4)
    assert np.allclose(found[0], (1 - 0.5) / 0.5) and np.allclose(found[1], (0.2 - 0.25) / 1)
    assert np.allclose(found[2], 0.4 / 2) and found.dtype == np.float32


def test_a_batch_is_its_pictures_one_by_one() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for size in range(5, 5 + BATCH + 3)]
    together = encode(pictures)
    assert together.shape[0] == BATCH + 3
    assert all(np.array_equal(together[i], encode([picture])[0]) for i, picture in enumerate(pictures))


def test_no_gradient_is_kept() -> None:
    seen: list[bool] = []
    features = lambda pixels: (seen.append(torch.is_grad_enabled()), pixels)[1].flatten(1)  # noqa: E731
    encode_in_batches([np.zeros((4, 4, 3), np.uint8)], features, 4, 4, (0, 0, 0), (1, 1, 1), "cpu")
    assert seen == [False]
