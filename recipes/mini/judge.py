"""The judge of generated pictures: nearest prototype on efficientnet-lite0 features.

Prototypes are mean features of real renderings (composed single-object scenes) of each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from recipes.mini.appearance import load_classifier, pooled_features
from uce.scenes.composing import compose
from uce.scenes.objects import load_object
from uce.scenes.things import Floats, Loader, Thing, make_loader

SIDE = 160  # pictures are scaled to this before they are judged
RENDERINGS = 6  # per prototype


class Judge:
    """Names the object of a picture among a fixed set of objects."""

    def __init__(self, objects: Path, stems: Sequence[str], seed: int = 1000) -> None:
        self.stems, self.seed = list(stems), seed
        self.loader: Loader = make_loader(lambda stem: load_object(objects, stem))
        self.classifier = load_classifier()
        rows = [self.features(self.renderings(stem, RENDERINGS, seed)) for stem in self.stems]
        self.centre = np.concatenate(rows).mean(0)
        self.prototypes = np.stack([self._direction(row).mean(0) for row in rows])

    def renderings(self, stem: str, count: int, seed: int) -> list[npt.NDArray[np.uint8]]:
        """Real pictures of one object, large and centred."""
        return [compose([Thing(stem)], self.loader, seed, i, portrait=True).picture for i in range(count)]

    def features(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Floats:
        """Features (B, 1280) of uint8 pictures of any size."""
        scaled = [np.asarray(Image.fromarray(p).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for p in pictures]
        parts = [pooled_features(self.classifier, np.stack(scaled[i : i + 32])) for i in range(0, len(scaled), 32)]
        return np.concatenate(parts)

    def _direction(self, features: Floats) -> Floats:
        shifted = features - self.centre
        return np.asarray(shifted / np.linalg.norm(shifted, axis=-1, keepdims=True), np.float32)

    def name(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[str]:
        """The stem of the object that each picture shows, by its nearest prototype."""
        similar = self._direction(self.features(pictures)) @ self.prototypes.T
        return [self.stems[int(best)] for best in similar.argmax(1)]
