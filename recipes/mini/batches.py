"""Training batches, determined by (seed, step): latents, noise levels, captions, truth.

The first `grounded` pictures of a batch are nearly clean, half of them with the empty prompt:
they carry the grounding losses, and their captions may leave objects out, since a token is learned
under prompts that do. The others are spread over all noise levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTokenizer

from recipes.mini.captions import Caption, caption
from recipes.mini.shards import BACKGROUNDS, EARLY, MOST, SIZE, Shard, load_shard, shard_path
from uce.scenes.names import plural
from uce.scenes.things import VARIANTS

WINDOW = 48  # shards that a batch may draw from: the newest
DROPPED = 0.04  # captions left out of ungrounded pictures, beside those of grounded ones


@dataclass(frozen=True)
class Batch:
    """What one update needs; B pictures, T text positions, the first n of them grounded."""

    latents: Tensor  # (B, 16, h, w), not scaled
    labels: Tensor  # (B, h, w)
    ids: Tensor  # (B, T) token ids; mentions hold the end-of-text id until replaced
    where: Tensor  # (M, 2): picture and text position of each mention
    things: Tensor  # (M, 2): object number and variant of each mention
    mentioned: Tensor  # bool (B, T, C): instances that a position mentions
    timesteps: Tensor  # (B,)
    num_empty: int  # the first pictures of the batch, with the empty prompt

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory that a device reads by itself; what a data loader calls."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(v) if isinstance(v, Tensor) else v for name, v in values.items()}
        return Batch(**changed)


@dataclass(frozen=True)
class Mixture:
    """What a batch is drawn from, for each process."""

    seed: int
    size: int  # pictures per process
    grounded: int  # of them, those with grounding losses
    shards: int  # that will exist
    processes: int
    several: float  # share of scenes of several objects that ungrounded places accept
    unnamed: float  # share of single objects without a word that they accept
    reuse: float = 5  # how often a scene is seen, on average, before a newer shard takes over


class Batches(Dataset[Batch]):
    """Draws batches from the shards of a work folder, waiting for shards that are still being made."""

    def __init__(
        self, work: Path, tokenizer: CLIPTokenizer, mixture: Mixture, named: npt.NDArray[np.bool_], rank: int = 0
    ) -> None:
        self.work, self.mixture, self.named, self.rank = work, mixture, named, rank
        self.seed, self.size, self.grounded = mixture.seed, mixture.size, mixture.grounded
        self.length = tokenizer.model_max_length
        self.start, self.end, self.pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        self.lookup = lru_cache(4096)(lambda word: tokenizer(word, add_special_tokens=False).input_ids)
        self.load = lru_cache(WINDOW + 2)(self._load)

    def _load(self, number: int) -> Shard:
        path = shard_path(self.work, self.seed, number)
        while not path.exists():
            print(f"waiting for {path.name}", flush=True)
            time.sleep(1)
        return load_shard(path)

    def window(self, step: int) -> range:
        """Numbers of the shards that this step may draw from."""
        seen = step * self.size * self.mixture.processes / (SIZE * self.mixture.reuse)
        newest = min(self.mixture.shards, max(4, int(seen * (1.5 if seen < EARLY else 1.0)) + 4))
        return range(max(0, newest - WINDOW), newest)

    def from_step(self, step: int, stop: int, workers: int) -> Iterator[Batch]:
        """The batches of `step`, ... in order, drawn ahead by worker processes where there are any."""
        steps = range(step, stop)
        if not workers:
            return (self[number] for number in steps)
        return iter(
            DataLoader(
                self, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=8,
                pin_memory=torch.cuda.is_available(),
            )
        )  # fmt: skip

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step, 1 + self.rank))
        window = self.window(step)
        scenes = [self._scene(rng, window, place) for place in range(self.size)]
        num_empty = self.grounded // 2
        captions = [self._caption(rng, *scene, place < self.grounded) for place, scene in enumerate(scenes)]
        dropped = rng.random(self.size) < DROPPED
        ids = torch.full((self.size, self.length), self.pad)
        where: list[tuple[int, int]] = []
        things: list[tuple[int, int]] = []
        mentioned = torch.zeros(self.size, self.length, MOST + 1, dtype=torch.bool)
        for picture, ((shard, row), text) in enumerate(zip(scenes, captions, strict=True)):
            if picture < num_empty or dropped[picture]:
                text = Caption((), ())
            self._fill(picture, shard, row, text, ids, where, things, mentioned)
        return Batch(
            latents=torch.from_numpy(np.stack([shard.latents[row] for shard, row in scenes])).float(),
            labels=torch.from_numpy(np.stack([shard.labels[row] for shard, row in scenes])),
            ids=ids,
            where=torch.tensor(where, dtype=torch.int64).reshape(-1, 2),
            things=torch.tensor(things, dtype=torch.int64).reshape(-1, 2),
            mentioned=mentioned,
            timesteps=self._timesteps(rng),
            num_empty=num_empty,
        )

    def _scene(self, rng: np.random.Generator, window: range, place: int) -> tuple[Shard, int]:
        """Grounded places hold several objects; of the others most hold one, so that drawing is learned fast."""
        for _ in range(20):
            shard, row = self.load(int(rng.integers(window.start, window.stop))), int(rng.integers(SIZE))
            several = bool(shard.stems[row, 1] >= 0)
            if place < self.grounded:
                if several:
                    break
            else:
                keep = 1.0 if self.named[shard.stems[row, 0]] else self.mixture.unnamed
                if rng.random() < (self.mixture.several if several else keep):
                    break
        return shard, row

    def _caption(self, rng: np.random.Generator, shard: Shard, row: int, partial: bool) -> Caption:
        count = int((shard.stems[row] >= 0).sum())
        kinds = [int(shard.stems[row, i]) * len(VARIANTS) + int(shard.variants[row, i]) for i in range(count)]
        return caption(rng, kinds, BACKGROUNDS[int(shard.backgrounds[row])], partial)

    def _timesteps(self, rng: np.random.Generator) -> Tensor:
        # Only noisy pictures need the words to know the shape: almost two thirds are above 600.
        steps = (20 + 980 * (1 - rng.random(self.size) ** 2)).astype(np.int64)
        low = rng.random(self.grounded)
        steps[: self.grounded] = (600 * low * low).astype(np.int64)  # many near 0, where localisation looks
        return torch.from_numpy(steps)

    def _fill(
        self, picture: int, shard: Shard, row: int, text: Caption, ids: Tensor,
        where: list[tuple[int, int]], things: list[tuple[int, int]], mentioned: Tensor,
    ) -> None:  # fmt: skip
        line = [self.start]
        for word, mention in zip(text.words, text.mentions, strict=True):
            if mention < 0:
                line += self.lookup(word)
                continue
            stem, variant = int(shard.stems[row, mention]), int(shard.variants[row, mention])
            same = (shard.stems[row] == stem) & (shard.variants[row] == variant)
            mentioned[picture, len(line), 1:] = torch.from_numpy(same)
            where.append((picture, len(line)))
            things.append((stem, variant))
            line.append(self.end)
        line = [*line, self.end][: self.length]
        ids[picture, : len(line)] = torch.tensor(line)


def object_words(named: dict[str, str]) -> list[str]:
    """Singular and plural of every named object."""
    return [word for name in named.values() for word in (name, plural(name))]
