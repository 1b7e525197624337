"""Learn tokens in the principal axes of the model's own words.

A text encoder was trained on its vocabulary only, and says something sensible only near it. A vector that is learned
number by number soon leaves that region and draws textures. Here AdamW works in coordinates that count in standard
deviations along the principal axes of the model's complete words: directions in which words differ a lot are learned
fast, others hardly or, beyond the axes chosen, not at all (our own). Weight decay then pulls towards the mean word.

Legend: V token rows; W words; A axes; D width of a text encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uce.core.model.backbone import Backbone
from uce.core.model.words import vocabulary_words, word_vectors

WORDS = 8192
"""How many of the vocabulary's words, the commonest first, say where words lie."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """An affine frame in a text encoder's embedding space.

    Attributes:
        mean: float32 (D,), the mean word.
        axes: float32 (A, D), orthogonal; the length of each is the deviation of words along it.
    """

    mean: Tensor
    axes: Tensor

    @classmethod
    def of_words(cls, words_WD: Tensor, count: int) -> Coordinates:
        """The first `count` principal axes, or as many as the words span."""
        words_WD = words_WD.float()
        mean = words_WD.mean(dim=0)
        _, values, directions = torch.linalg.svd(words_WD - mean, full_matrices=False)
        deviations = values / len(words_WD) ** 0.5
        kept = min(count, int((deviations > 1e-4 * deviations[0].clamp_min(1e-12)).sum()))
        return cls(mean, deviations[:kept, None] * directions[:kept])

    def from_vectors(self, vectors_VD: Tensor) -> Tensor:
        """Coordinates (V, A) of the nearest points of the frame."""
        return (vectors_VD - self.mean) @ self.axes.T / self.axes.square().sum(dim=1)

    def to_vectors(self, points_VA: Tensor) -> Tensor:
        """Vectors (V, D) of coordinates."""
        return self.mean + points_VA @ self.axes

    def gradient(self, gradient_VD: Tensor) -> Tensor:
        """The gradient with respect to coordinates, (V, A), of one with respect to vectors."""
        return gradient_VD @ self.axes.T


def word_coordinates(backbone: Backbone, count: int) -> dict[str, Coordinates]:
    """The frame of every text encoder of a model; empty for `count` 0.

    Raises:
        StageInputError: a vocabulary that names no words.
    """
    if count == 0:
        return {}
    vectors = word_vectors(backbone, vocabulary_words(backbone, WORDS))
    return {encoder: Coordinates.of_words(rows.to(backbone.device), count) for encoder, rows in vectors.items()}
