"""A backbone of a few hundred numbers, differentiable and counting, so that training is tested in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from uce.core import Capture, Concepts, Conditioning, LayerMap, Prompt, StageInputError

VOCABULARY = {"<begin>": 0, "<end>": 1, "<pad>": 2, "a": 3, "photo": 4, "of": 5, "and": 6}


class FakeBackbone:
    """Text: a running mean of embeddings. "UNet": one cross-attention of 8 x 8 cells. VAE: the mean of 2 x 2 pixels."""

    model, description, device, precision = "fake", "a test double", "cpu", "float32"
    picture_side, latent_side, latent_channels, num_timesteps, width = 16, 8, 3, 100, 6

    def __init__(self, encoders: tuple[str, ...] = ("clip",), length: int = 24) -> None:
        generator = torch.Generator().manual_seed(3)
        self.encoders, self.length, self.fingerprint = encoders, length, "fake"
        self.tables = {encoder: torch.randn(40, self.width, generator=generator) for encoder in encoders}
        self.query = torch.randn(self.latent_channels + 2, self.width, generator=generator)
        self.value = torch.randn(self.width, self.latent_channels, generator=generator)
        self.encoded: list[int] = []
        self.passes: list[int] = []
        self.requests: list[Capture] = []
        self.texts: list[str] = []
        self.watching: list[LayerMap] | None = None

    def encode_image(self, pixels: Tensor) -> Tensor:
        self.encoded.append(len(pixels))
        return torch.nn.functional.avg_pool2d(pixels, 2)

    def tokenize(self, text: str, slots: Mapping[str, int] | None = None) -> Prompt:
        words = text.split()
        if len(words) > self.length - 2:
            raise StageInputError(f"the text has {len(words)} tokens")
        self.texts.append(text)
        padding = self.length - len(words) - 2
        ids = torch.tensor([0, *(VOCABULARY.get(word, 7) for word in words), 1, *[2] * padding])
        places = torch.tensor([-1, *((slots or {}).get(word, -1) for word in words), *[-1] * (padding + 1)])
        return Prompt(text, dict.fromkeys(self.encoders, ids), dict.fromkeys(self.encoders, places), {})

    def encode_prompts(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None) -> Conditioning:
        states = torch.zeros(len(prompts), self.length, self.width)
        steps = torch.arange(1, self.length + 1)[:, None]
        for encoder in self.encoders:
            ids = torch.stack([prompt.ids[encoder] for prompt in prompts])
            slots = torch.stack([prompt.slots[encoder] for prompt in prompts])
            embedded = self.tables[encoder][ids]
            if vectors is not None:
                embedded = torch.where((slots >= 0)[..., None], vectors[encoder][slots.clamp_min(0)], embedded)
            states = states + embedded.cumsum(dim=1) / steps + embedded
        return Conditioning(states)

    def embedding_table(self, encoder: str) -> Tensor:
        return self.tables[encoder]

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        share = (timesteps.float() / self.num_timesteps)[:, None, None, None]
        return (1 - share) * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        self.passes.append(len(noisy))
        side = noisy.shape[-1]
        place = torch.stack(torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij"))
        features = torch.cat([noisy, place.expand(len(noisy), -1, -1, -1)], dim=1).flatten(2).mT
        probs = (features @ self.query @ conditioning.states.mT).softmax(dim=-1)
        if self.watching is not None:
            for request in self.requests[-1:]:
                kept = probs
                if request.columns is not None:
                    kept = probs.gather(2, request.columns[:, None].expand(-1, probs.shape[1], -1))
                self.watching.append(LayerMap("down_blocks.0", "cross", (side, side), 1, kept))
        return (probs @ conditioning.states @ self.value).mT.reshape_as(noisy)

    @contextmanager
    def capture(self, *requests: Capture) -> Iterator[list[LayerMap]]:
        self.requests += requests
        self.watching = []
        try:
            yield self.watching
        finally:
            self.watching = None


class MemoryCheckpoint:
    """Keeps the last state in memory."""

    def __init__(self) -> None:
        self.state: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self.saves = 0

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return self.state

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.state, self.saves = (dict(tensors), dict(values)), self.saves + 1


def make_concepts(num: int = 2, side: int = 8) -> Concepts:
    """Concepts in horizontal bands that do not fill the width, so that flipping matters."""
    masks = torch.zeros(num, side, side, dtype=torch.bool)
    bands = torch.arange(side).tensor_split(num) if num <= side else [torch.tensor([i % side]) for i in range(num)]
    for k, band in enumerate(bands):
        masks[k, band, (k // side) : (k // side) + 1 if num > side else side - 3] = True
    return Concepts(masks=masks, maps=masks.float().flatten(1) + 0.05, scores=torch.ones(num))


@pytest.fixture
def fake() -> FakeBackbone:
    return FakeBackbone()


@pytest.fixture
def doubles() -> Any:
    """The classes and helpers of this file."""
    generator = torch.Generator().manual_seed(5)
    picture = SimpleNamespace(pixels=torch.rand(3, 16, 16, generator=generator) * 2 - 1)
    return SimpleNamespace(Backbone=FakeBackbone, Checkpoint=MemoryCheckpoint, concepts=make_concepts, picture=picture)
