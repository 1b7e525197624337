"""What holds for every picture encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uce.core.errors import ConfigError, ModelError
from uce.core.model.encoder import Encoder, Features
from uce.testing.tries import Refused, judged, left_alone, require


def check_encoder(load: Callable[[], Any], where: str) -> None:
    """Load it, and encode pictures alone and together. One whose weights are not here is not tried further.

    Raises:
        ContractError: a rule is broken.
    """
    try:
        with judged(where, ModelError, ConfigError):
            encoder = load()
    except Refused:
        return
    _check_face(encoder, where)
    pictures = [_picture(seed, side) for seed, side in ((0, 40), (1, 64), (2, 9))]
    with judged(where):
        together = left_alone(lambda: encoder.encode(pictures), pictures, where)
        again = left_alone(lambda: encoder.encode(pictures), pictures, where, seed=2)
        alone = [encoder.encode([picture]) for picture in pictures]
    for features, count in ((together, 3), (alone[0], 1)):
        _check_features(features, count, where)
    require(
        np.array_equal(together, again),
        "same pictures, same features",
        where,
        "encoding the same pictures twice gave other numbers",
        "put the network into eval mode and draw nothing at random",
    )
    require(
        np.allclose(np.concatenate(alone), together, rtol=1e-3, atol=1e-4 * float(np.abs(together).max())),
        "each picture by itself",
        where,
        "a picture's features depend on what is encoded beside it",
        "let nothing be averaged or normalised over the batch",
    )
    require(
        not np.allclose(together[0], together[1], rtol=1e-6, atol=0),
        "pictures told apart",
        where,
        "two pictures have the same features",
        "look at the pixels: uint8 (H, W, 3), 0 to 255",
    )


def _picture(seed: int, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A square of coloured noise on a colour of its own."""
    generator = np.random.default_rng(seed)
    plain = generator.integers(0, 200, (1, 1, 3))
    return np.asarray(plain + generator.integers(0, 56, (side, side, 3)), np.uint8)


def _check_face(encoder: Encoder | None, where: str) -> None:
    mend = "return an object with `description` and `encode` (uce.core.Encoder)"
    require(encoder is not None, "an encoder", where, "uce_load_encoder returned None", mend)
    text = getattr(encoder, "description", None)
    good = isinstance(text, str) and bool(text.strip()) and "\n" not in text.strip()
    require(good, "description", where, f"its encoder's is {text!r}", "say in one line which weights it has")
    require(callable(getattr(encoder, "encode", None)), "an encoder", where, "its encoder has no encode", mend)


def _check_features(features: Features, count: int, where: str) -> None:
    found = f"{type(features).__name__}"
    if isinstance(features, np.ndarray):
        found = f"an array {features.shape} of {features.dtype}"
        if features.dtype == np.float32 and features.ndim == 2 and len(features) == count:
            require(
                bool(np.isfinite(features).all()), "finite features", where, "a feature is not finite", "mend its sums"
            )
            return
    require(
        False, "features", where, f"for {count} pictures it gave {found}", "return numpy float32 (pictures, features)"
    )
