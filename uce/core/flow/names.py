"""What a thing may be called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """What a model would call one thing.

    Attributes:
        label: its name; "" where no word is sure enough.
        words: the nearest, best first.
        confidences: of each word, how likely it is right, in [0, 1]; empty where nobody measured that.
    """

    label: str
    words: tuple[str, ...]
    confidences: tuple[float, ...] = ()
