"""A model of a few hundred numbers with the face of a real one: differentiable, deterministic, on the CPU.

The text encoder is a running mean of embeddings. The "UNet" has a self- and a cross-attention at two sides; cells of
like colour attend to each other, so that its maps show the picture's things. The VAE is the mean of 4 x 4 pixels.

Legend: B batch; C latent channels; h, w latent cells; n cells of a layer; L text positions; D width of the text states;
d width of one text encoder; V learned vectors; M text positions asked for.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from uce.core.errors import ModelError, StageInputError
from uce.core.model.backbone import Capture, Conditioning, LayerMap, Prompt
from uce.core.model.tuning import LORA_DOWN, LORA_UP, PREFIX, TrainedWeights, Tuning, chosen_modules

SIDE = 32
"""Pixels per side of what the tiny model sees."""
BEGIN, END, PAD, FIRST_WORD = 0, 1, 2, 3
EXACT = "donot_use_mm_for_euclid_dist"
VOCABULARY = 64
LENGTH = 24
WORDS = ("ball", "bird", "boat", "book", "cat", "chair", "cloud", "cup", "dog", "door", "fish", "hat", "house", "lamp",
         "moon", "mug", "owl", "rose", "shoe", "star", "sun", "table", "tree", "wheel")  # fmt: skip
LAYERS = (("down_blocks.0", 8), ("mid_block", 4), ("up_blocks.0", 8))  # name, cells per side of the model's own latent
# Weights that can be trained, and their names in a diffusers UNet
MODULES = {"own": "attn1.to_v", "query": "attn2.to_q", "value": "attn2.to_v"}

DECODER = ("mid_block", "up_blocks.0")  # the layers that stand for decoder blocks, deepest first


class TinyBackbone:
    """Implements `uce.core.Backbone`; `pipeline` alone is missing, since it needs diffusers' parts."""

    model, description = "tiny", "tiny: a test double of uce.testing; its pictures mean nothing"
    device, precision = "cpu", "float32"
    picture_side, latent_side, latent_channels, num_timesteps = SIDE, SIDE // 4, 4, 1000

    def __init__(self, encoders: tuple[str, ...] = ("clip",)) -> None:
        generator = torch.Generator().manual_seed(3)
        self.encoders = encoders
        self.tables = {name: torch.randn(VOCABULARY, 6 + 4 * i, generator=generator) for i, name in enumerate(encoders)}
        width = sum(table.shape[1] for table in self.tables.values())
        self.own = torch.eye(self.latent_channels)
        self.query = torch.randn(self.latent_channels + 2, width, generator=generator)
        self.value = torch.randn(width, self.latent_channels, generator=generator) / width**0.5
        self.fingerprint = f"tiny-{'-'.join(encoders)}"
        self._trained: Mapping[str, tuple[Tensor, ...]] = {}
        self._scale = 1.0
        self._requests: tuple[Capture, ...] = ()
        self._maps: list[LayerMap] = []
        self._blocks: tuple[int, ...] = ()
        self._features: dict[int, Tensor] = {}

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, side, side) -> (B, 4, side / 4, side / 4): mean colours and their grey."""
        colours = F.avg_pool2d(pixels.float(), 4)
        return torch.cat([colours, colours.mean(dim=1, keepdim=True)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        return F.interpolate(latents[:, :3].float(), scale_factor=4, mode="nearest").clamp(-1, 1)

    def tokenize(self, text: str, slots: Mapping[str, int] | None = None) -> Prompt:
        words = re.findall(r"<[^<>\s]+>|\w+|[^\w\s]", text)
        if len(words) > LENGTH - 2:
            raise StageInputError(f"the text has {len(words)} tokens, this model reads {LENGTH - 2}; shorten it")
        padding = LENGTH - len(words) - 2
        ids = torch.tensor([BEGIN, *(_word_id(word) for word in words), END, *[PAD] * padding])
        places = torch.tensor([-1, *((slots or {}).get(word, -1) for word in words), *[-1] * (padding + 1)])
        return Prompt(
            text=text,
            ids={encoder: ids.clone() for encoder in self.encoders},
            slots={encoder: places.clone() for encoder in self.encoders},
            end=dict.fromkeys(self.encoders, len(words) + 1),
        )

    def encode_prompts(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None) -> Conditioning:
        steps = torch.arange(1, LENGTH + 1)[:, None]
        states = []
        for encoder in self.encoders:
            ids = torch.stack([prompt.ids[encoder] for prompt in prompts])
            slots = torch.stack([prompt.slots[encoder] for prompt in prompts])
            embedded = self.tables[encoder][ids]
            if vectors is not None:
                embedded = torch.where((slots >= 0)[..., None], vectors[encoder][slots.clamp_min(0)], embedded)
            states.append(embedded + embedded.cumsum(dim=1) / steps)
        return Conditioning(torch.cat(states, dim=2))

    def embedding_table(self, encoder: str) -> Tensor:
        return self.tables[encoder]

    def word_ids(self, word: str, encoder: str) -> list[int]:
        return [_word_id(piece) for piece in re.findall(r"<[^<>\s]+>|\w+|[^\w\s]", word)]

    def words(self, encoder: str) -> dict[str, int]:
        return {word: _word_id(word) for word in WORDS}

    def _share(self, timesteps: Tensor) -> Tensor:
        """Part of the latent that is noise, (B, 1, 1, 1)."""
        return (timesteps.float() / self.num_timesteps).clamp(0, 1)[:, None, None, None]

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        share = self._share(timesteps)
        return (1 - share).sqrt() * latents + share.sqrt() * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        total = 0.1 * noisy
        for name, side in LAYERS:
            height, width = (max(1, length * side // self.latent_side) for length in noisy.shape[2:])
            size = (height, width)
            cells_BnF = _with_places(F.adaptive_avg_pool2d(noisy.float(), size))
            own_Bnn = (-6 * torch.cdist(cells_BnF, cells_BnF, compute_mode=EXACT)).softmax(dim=-1)
            cross_BnL = (cells_BnF @ self._weight("query") @ conditioning.states.mT / 4).softmax(dim=-1)
            own_BnC = cells_BnF[..., : self.latent_channels] @ self._weight("own")
            self._keep(name, "self", size, own_Bnn)
            self._keep(name, "cross", size, cross_BnL)
            mixed = cross_BnL @ conditioning.states @ self._weight("value") + own_Bnn @ own_BnC
            mixed = mixed.mT.reshape(len(noisy), self.latent_channels, *size)
            total = total + F.interpolate(mixed, size=noisy.shape[2:], mode="nearest") / len(LAYERS)
            if name in DECODER and DECODER.index(name) in self._blocks:
                self._features[DECODER.index(name)] = mixed
        return total

    def _keep(self, name: str, kind: str, grid: tuple[int, int], probs: Tensor) -> None:
        """Append the map where a request asks for it."""
        for request in self._requests:
            if request.wants(kind, name, grid):
                kept = probs
                if request.columns is not None:
                    columns = request.columns[:, None].expand(len(probs), probs.shape[1], -1)
                    kept = probs.gather(2, columns)
                self._maps.append(LayerMap(name, kind, grid, 1, kept))

    @contextmanager
    def capture(self, *requests: Capture) -> Iterator[list[LayerMap]]:
        before = self._requests, self._maps
        self._requests, self._maps = requests, []
        try:
            yield self._maps
        finally:
            self._requests, self._maps = before

    @contextmanager
    def capture_features(self, *blocks: int) -> Iterator[dict[int, Tensor]]:
        if not set(blocks) <= set(range(len(DECODER))):
            raise StageInputError(f"the tiny model has decoder blocks 0 to {len(DECODER) - 1}, asked for {blocks}")
        before = self._blocks, self._features
        self._blocks, self._features = blocks, {}
        try:
            yield self._features
        finally:
            self._blocks, self._features = before

    def _weight(self, name: str) -> Tensor:
        """`query` or `value` as it counts now."""
        weight: Tensor = getattr(self, name)
        trained = self._trained.get(MODULES[name], ())
        return (
            weight
            if not trained
            else trained[0]
            if len(trained) == 1
            else weight + self._scale * (trained[1] @ trained[0]).mT
        )

    @contextmanager
    def train_weights(self, tuning: Tuning) -> Iterator[TrainedWeights]:
        chosen = chosen_modules(MODULES.values(), tuning.modules)
        generator, trained = torch.Generator().manual_seed(tuning.seed), {}
        for name, module in MODULES.items():
            if module in chosen:
                inputs, outputs = getattr(self, name).shape
                down, up = torch.randn(tuning.rank, inputs, generator=generator), torch.zeros(outputs, tuning.rank)
                trained[module] = (down, up) if tuning.kind == "lora" else (getattr(self, name).clone(),)
        parameters = {
            f"{module}.{i}": x.requires_grad_() for module, pair in trained.items() for i, x in enumerate(pair)
        }
        scale = tuning.alpha / tuning.rank
        with self._computing(trained, scale):
            yield TrainedWeights(parameters, lambda: _named(trained, scale))

    @contextmanager
    def use_weights(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        trained: dict[str, tuple[Tensor, ...]] = {}
        for module in MODULES.values():
            names = [f"{PREFIX}{module}{end}" for end in (LORA_DOWN, LORA_UP)]
            found = [weights[name] for name in (*names, f"{PREFIX}{module}.weight") if name in weights]
            if found:
                trained[module] = tuple(found)
        with self._computing(trained):
            yield

    @contextmanager
    def _computing(self, trained: Mapping[str, tuple[Tensor, ...]], scale: float = 1.0) -> Iterator[None]:
        """Within the block, `trained` tensors count: one in a weight's place, or a LoRA pair `scale` times on top."""
        before = self._trained, self._scale
        self._trained, self._scale = trained, scale
        try:
            yield
        finally:
            self._trained, self._scale = before

    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        raise ModelError("the tiny model of uce.testing has no diffusers pipeline; use generate, or a real model")

    def generate(
        self,
        prompts: Sequence[str],
        tokens: Mapping[str, Mapping[str, Tensor]] | None = None,
        *,
        seeds: Sequence[int],
        steps: int = 25,
        guidance: float = 5.0,
        on_step: Any = None,
    ) -> list[Any]:
        from PIL import Image

        slots = {token: index for index, token in enumerate(tokens or {})}
        vectors = {e: torch.cat([t[e][:1] for t in tokens.values()]) for e in self.encoders} if tokens else None
        pictures = []
        with torch.no_grad():
            for index, (text, seed) in enumerate(zip(prompts, seeds, strict=True)):
                conditioning = self.encode_prompts([self.tokenize(text, slots)], vectors)
                shape = (1, self.latent_channels, self.latent_side, self.latent_side)
                latent = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
                total = min(steps, 4)
                for step in range(total):
                    timestep = torch.tensor([self.num_timesteps - 1 - step * self.num_timesteps // 4])
                    latent = latent - 0.3 * self.predict(latent, timestep, conditioning)
                    if on_step is not None:
                        on_step(index * total + step + 1, len(prompts) * total)
                pixels = ((self.decode(latent)[0] + 1) * 127.5).round().byte().permute(1, 2, 0)
                pictures.append(Image.fromarray(pixels.numpy()))
        return pictures


def _named(trained: Mapping[str, tuple[Tensor, ...]], scale: float) -> dict[str, Tensor]:
    """Trained tensors in the format of weights.safetensors."""
    named = {}
    for module, tensors in trained.items():
        ends = (".weight",) if len(tensors) == 1 else (LORA_DOWN, LORA_UP)
        for end, tensor in zip(ends, tensors, strict=True):
            named[f"{PREFIX}{module}{end}"] = tensor.detach().clone() * (scale if end == LORA_UP else 1.0)
    return named


def _word_id(word: str) -> int:
    return FIRST_WORD + zlib.crc32(word.lower().encode()) % (VOCABULARY - FIRST_WORD)


def _with_places(latents_BChw: Tensor) -> Tensor:
    """Cells with their place: (B, n, C + 2)."""
    height, width = latents_BChw.shape[2:]
    rows, columns = torch.linspace(-0.2, 0.2, height), torch.linspace(-0.2, 0.2, width)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return torch.cat([latents_BChw, places.expand(len(latents_BChw), -1, -1, -1)], dim=1).flatten(2).mT
