"""The backbone face over a transformer that follows a flow.

Legend: B batch; C latent channels; h, w latent cells; L text positions; D width of the text states.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from uce.core import (
    Capture,
    Conditioning,
    Inpainting,
    LayerMap,
    ModelError,
    Prompt,
    Regions,
    StageInputError,
    TrainedWeights,
    Tuning,
    capture_joint_attention,
    capture_joint_features,
    joint_layer_names,
)
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd.parts import Manner, drawn_latent
from uce.plugins.backbones._sd.prompts import PromptReader
from uce.plugins.backbones._sd.residence import Residence
from uce.plugins.backbones._transformer.flow import Flow
from uce.plugins.backbones._transformer.loading import TransformerParts
from uce.plugins.backbones._transformer.text import T5, T5_OUT, T5Reader, TextSide

TRANSFORMER, VAE = "transformer", "vae"


class TransformerBackbone(ABC):
    """A loaded model; see `uce.core.model.backbone.Backbone` for what each method promises.

    Latents, noise and predictions are float32 outside, whatever precision the transformer computes in. A subclass says
    how texts become conditions and how a pass is called.
    """

    own_carriers: tuple[str, ...]
    """Where learned vectors live where nobody chooses."""
    even_times = False
    """Whether the pipeline spaces shares of noise evenly before the shift."""

    def __init__(self, parts: TransformerParts, settings: Any, device: str, precision: str) -> None:
        self.model, self.description, self.fingerprint = parts.model, parts.origin, parts.fingerprint
        self.device, self.precision = device, precision
        self.manner = Manner.of(settings)
        self.offload = self.manner.offload
        self.transformer, self.vae, self.clips = parts.transformer, parts.vae, parts.clips
        self.scheduler_config, self.flow = parts.scheduler, Flow(parts.scheduler)
        self.num_timesteps = self.flow.num_timesteps
        self.latent_channels = int(parts.vae.config.latent_channels)
        unit = 2 ** (len(parts.vae.config.block_out_channels) - 1)
        self.latent_side = self._latent_side(getattr(settings, "side", None), unit)
        self.picture_side = self.latent_side * unit
        self.text_length = int(getattr(settings, "text_length", None) or self._own_text_length())
        self.encoders = self._carriers(getattr(settings, "carriers", None), parts)
        self.text = self._text_side(parts)
        for part in (self.transformer, self.vae, *(encoder for _, encoder in self.clips.values())):
            part.requires_grad_(False).eval()
        encoders = {name: encoder for name, (_, encoder) in self.clips.items()}
        self.residence = Residence({TRANSFORMER: self.transformer, VAE: self.vae, **encoders}, device)
        if not self.offload:
            self.residence.settle()
        self._begin_as(self.manner)

    @property
    def patch(self) -> int:
        """Latent cells per side that make one token of the picture."""
        return 2

    def _begin_as(self, manner: Manner) -> None:
        self.checkpointing = False
        if manner.compiled != "off":
            from uce.plugins.backbones._sd.compiling import compile_blocks

            compile_blocks(self.transformer, manner.compiled)
        if manner.checkpointing:
            self.save_memory()
        if manner.tiling:
            self.tile()

    def save_memory(self) -> None:
        """From now on a training pass computes the transformer's blocks twice, in place of keeping what they held."""
        from uce.plugins.backbones._sd.checkpointing import checkpoint_blocks

        if not self.checkpointing:
            checkpoint_blocks(self.transformer)
            self.checkpointing = True

    def tile(self) -> None:
        """From now on the VAE works tile by tile, a quarter of its picture at a time."""
        self.vae.enable_tiling()
        self.vae.tile_latent_min_size, self.vae.tile_sample_min_size = self.latent_side // 2, self.picture_side // 2

    @abstractmethod
    def _own_side(self) -> int:
        """Latent cells per side that the model was trained with."""

    @abstractmethod
    def _own_text_length(self) -> int:
        """Positions of T5 that the model was trained with."""

    @abstractmethod
    def _begins(self) -> dict[str, int | None]:
        """Where each encoder's positions begin in the text states; None where it is only summed up."""

    @abstractmethod
    def _condition(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor]) -> Conditioning:
        """What the transformer is given of the prompts."""

    @abstractmethod
    def _pass(self, noisy: Tensor, timesteps: Tensor, states: Tensor, added: Mapping[str, Tensor]) -> Tensor:
        """One pass in the model's own precision, (B, C, h, w)."""

    def _latent_side(self, side: int | None, unit: int) -> int:
        if side is None:
            return self._own_side()
        if side % (unit * self.patch):
            raise ModelError(
                f"model.side must be a multiple of {unit * self.patch} for model '{self.model}', found {side}"
            )
        return side // unit

    def _carriers(self, wanted: Sequence[str] | None, parts: TransformerParts) -> tuple[str, ...]:
        """Raises ModelError where the model has not what is wanted."""
        allowed = [*parts.clips, *([T5, T5_OUT] if parts.t5 else [])]
        chosen = tuple(wanted) if wanted else self.own_carriers
        wrong = [name for name in chosen if name not in allowed] or (T5 in chosen and T5_OUT in chosen)
        if wrong or len(set(chosen)) != len(chosen):
            raise ModelError(
                f"model.carriers {', '.join(chosen)} does not fit model '{self.model}'; choose among "
                f"{', '.join(allowed)}, each once, and of T5's two one"
            )
        return chosen

    def _text_side(self, parts: TransformerParts) -> TextSide:
        t5 = None
        if parts.t5:
            name = T5_OUT if T5_OUT in self.encoders else T5
            t5 = T5Reader(*parts.t5, self.text_length, name)
            t5.device, t5.offload = self.device, self.offload
        clips = {name: PromptReader(*pair, name) for name, pair in parts.clips.items()}
        return TextSide(clips, t5, self.encoders, self._begins())

    @cached_property
    def joint_layers(self) -> tuple[str, ...]:
        """Names of the layers in which text and picture attend together, in the order in which they run."""
        return joint_layer_names(self.transformer)

    @cached_property
    def attention_modules(self) -> tuple[str, ...]:
        """What `lora` trains where nobody chooses: every attention layer."""
        names = {name.rpartition(".")[2] for name, _ in self.transformer.named_modules()}
        return tuple(name for name in ("attn", "attn2") if name in names)

    def encode_image(self, pixels: Tensor) -> Tensor:
        with torch.no_grad(), self.residence.using(VAE):
            vae = self.vae
            found = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist
            latent: Tensor = drawn_latent(found, pixels) if self.manner.sample_latent else found.mode()
            latents: Tensor = (latent.float() - float(vae.config.shift_factor or 0)) * float(vae.config.scaling_factor)
            return latents

    def decode(self, latents: Tensor) -> Tensor:
        with torch.no_grad(), self.residence.using(VAE):
            vae = self.vae
            scaled = latents.to(self.device, torch.float32) / float(vae.config.scaling_factor)
            pixels: Tensor = vae.decode((scaled + float(vae.config.shift_factor or 0)).to(vae.dtype)).sample.float()
            return pixels.clamp(-1, 1)

    def tokenize(self, text: str, slots: Mapping[str, int] | None = None) -> Prompt:
        return self.text.tokenize(text, {word: [slot] for word, slot in (slots or {}).items()})

    def tokenize_multi(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt:
        """As `tokenize`, with several learned vectors in a row for one word."""
        return self.text.tokenize(text, slots)

    def encode_prompts(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None) -> Conditioning:
        if not prompts:
            raise StageInputError("there are no prompts to encode; give at least one")
        learning = torch.is_grad_enabled() and any(value.requires_grad for value in (vectors or {}).values())
        with self.residence.using(*self.clips, *([TRANSFORMER] if learning else [])):
            if learning and vectors:
                self.residence.keep_until_backward(vectors.values())
            return self._condition(prompts, vectors or {})

    def embedding_table(self, encoder: str) -> Tensor:
        reader = self.text.reader(encoder)
        if encoder in (T5, T5_OUT):
            table: Tensor = reader.table()
            return table
        weight: Tensor = reader.text_encoder.get_input_embeddings().weight.detach()
        return weight

    def word_ids(self, word: str, encoder: str) -> list[int]:
        found: list[int] = self.text.reader(encoder).word_ids(word)
        return found

    def words(self, encoder: str) -> dict[str, int]:
        found: dict[str, int] = self.text.reader(encoder).words()
        return found

    def times(self, places: Tensor) -> Tensor:
        """Places on an even schedule as the model's own times, float32, shifted for this size of picture."""
        return self.flow.times(places, (self.latent_side // self.patch) ** 2)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return self.flow.add_noise(latents, noise, timesteps)

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise - latents

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        dtype, batch = resolve_dtype(self.precision), noisy.shape[0]
        states = conditioning.states.to(self.device, dtype)
        if states.shape[0] not in (1, batch):
            raise StageInputError(f"{batch} latents need as many prompts, found {states.shape[0]}")
        if self.text.t5 is not None and self.text.t5.at_output:
            self.text.t5.rest()
        added = {
            name: value.to(self.device).expand(batch, *value.shape[1:]) for name, value in conditioning.added.items()
        }
        times = timesteps.to(self.device, torch.float32).expand(batch)
        with self.residence.using(TRANSFORMER):
            output = self._pass(noisy.to(self.device, dtype), times, states.expand(batch, -1, -1), added)
        return output.float()

    def capture(self, *requests: Capture) -> AbstractContextManager[list[LayerMap]]:
        return capture_joint_attention(self.transformer, *requests)

    def capture_features(self, *blocks: int, of: str = "modulated") -> AbstractContextManager[dict[int, Tensor]]:
        """Blocks by number, in the order in which they run; see `uce.core.model.joint.capture_joint_features`."""
        return capture_joint_features(self.transformer, *blocks, of=of)

    @contextmanager
    def train_weights(self, tuning: Tuning) -> Iterator[TrainedWeights]:
        from uce.plugins.backbones._transformer.weights import trained_transformer

        with self.residence.keeping(TRANSFORMER), trained_transformer(self.transformer, tuning) as trained:
            yield trained

    @contextmanager
    def use_weights(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        from uce.plugins.backbones._transformer.weights import weighted_transformer

        with self.residence.keeping(TRANSFORMER), weighted_transformer(self.transformer, weights, self.model):
            yield

    @abstractmethod
    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any: ...

    def generate(
        self,
        prompts: Sequence[str],
        tokens: Mapping[str, Mapping[str, Tensor]] | None = None,
        *,
        seeds: Sequence[int],
        steps: int = 28,
        guidance: float = 5.0,
        on_step: Any = None,
        negative: str = "",
        scheduler: str = "euler",
        into: Inpainting | None = None,
        regions: Regions | None = None,
    ) -> list[Any]:
        from uce.plugins.backbones._sd.generation import Drawing
        from uce.plugins.backbones._transformer.drawing import generate

        how = Drawing(steps, guidance, negative, scheduler, into, regions)
        return generate(self, prompts, tokens or {}, seeds=seeds, how=how, on_step=on_step)

    def guided(self, conditioning: Conditioning, guidance: float) -> Conditioning:
        """`conditioning` with the guidance that a model reads beside its text; most read none."""
        return conditioning

    @property
    def takes_negative(self) -> bool:
        """Whether guidance leads away from a text, in two passes."""
        return True
