"""The backbone face over a Stable Diffusion model.

Legend: B batch; C latent channels; h, w latent cells; L text positions; D width of the text states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
    capture_attention,
)
from uce.core.model import DEFAULT_SCHEDULER, Costs, capture_outputs, resolve_dtype
from uce.plugins.backbones._sd.parts import PLAIN, Manner, Parts, drawing_of, drawn_latent
from uce.plugins.backbones._sd.prompts import ENCODER, PromptReader, Reader
from uce.plugins.backbones._sd.residence import Residence


class StableDiffusionBackbone:
    """A loaded Stable Diffusion model; see `uce.core.model.backbone.Backbone` for what each method promises.

    Latents, noise and predictions are float32 outside, whatever precision the UNet computes in.
    """

    encoders: tuple[str, ...] = (ENCODER,)
    _costs: Costs | None

    def __init__(self, parts: Parts, device: str, precision: str, manner: Manner = PLAIN) -> None:
        self.model, self.description, self.fingerprint = parts.model, parts.origin, parts.fingerprint
        self.device, self.precision, self.manner, self.folder = device, precision, manner, parts.folder
        self.unet, self.vae, self.text_encoder = parts.unet, parts.vae, parts.text_encoder
        self.tokenizer, self.scheduler_config = parts.tokenizer, parts.scheduler
        self._reader: Reader = self._make_reader(parts)
        self._require_that_parts_fit(parts)
        side = parts.unet.config.sample_size
        self.latent_side = int(side if isinstance(side, int) else max(side))
        self.latent_channels = int(parts.unet.config.in_channels)
        self.picture_side = self.latent_side * 2 ** (len(parts.vae.config.block_out_channels) - 1)
        self._schedule = _schedule(parts.scheduler)
        self.num_timesteps = int(self._schedule.config.num_train_timesteps)
        self.prediction = str(self._schedule.config.prediction_type)
        text_encoders = self._text_encoders().values()
        for part in (self.unet, self.vae, *text_encoders):
            part.requires_grad_(False).eval()
        self.usual_drawing = drawing_of(parts.few_steps)
        self.residence = Residence({"unet": self.unet, "vae": self.vae, **self._text_encoders()}, device)
        if not manner.offload:
            self.residence.settle()
        if manner.compiled != "off":
            from uce.plugins.backbones._sd.compiling import compile_blocks

            compile_blocks(self.unet, manner.compiled)
        self.checkpointing, self._costs = False, None
        if manner.checkpointing:
            self.save_memory()
        if manner.tiling:
            self.tile()
        if parts.vae.dtype != parts.unet.dtype:
            _accept_any_precision(parts.vae)

    def _make_reader(self, parts: Any) -> Reader:
        """What turns text into `Prompt`s."""
        return PromptReader(parts.tokenizer, parts.text_encoder)

    def _text_encoders(self) -> dict[str, Any]:
        """Text encoders by name, in the order of `encoders`."""
        return {ENCODER: self.text_encoder}

    @property
    def offload(self) -> bool:
        """Whether parts that are not in use leave the device."""
        return self.manner.offload

    def costs(self, quick: bool = False) -> Costs | None:
        """What each kind of work needs, counted once at the model's own shapes; `quick`: only where it is known."""
        if self._costs is None:
            from uce.plugins.backbones._sd.counting import count_costs

            parts = {"unet": self.unet, "vae": self.vae, **self._text_encoders()}
            weights = {
                name: sum(value.numel() * value.element_size() for value in part.parameters())
                for name, part in parts.items()
            }
            self._costs = count_costs(self.unet, self.vae, weights, self.latent_side, self._added_widths(), quick=quick)
        return self._costs

    def _added_widths(self) -> dict[str, int]:
        """Widths of the conditions beside the text states."""
        return {}

    def save_memory(self) -> None:
        """From now on a training pass computes the UNet's blocks twice, in place of keeping what they held."""
        from uce.plugins.backbones._sd.checkpointing import checkpoint_blocks

        if not self.checkpointing:
            checkpoint_blocks(self.unet)
            self.checkpointing = True

    def tile(self) -> None:
        """From now on the VAE works tile by tile, a quarter of its picture at a time."""
        self.vae.enable_tiling()
        self.vae.tile_latent_min_size, self.vae.tile_sample_min_size = self.latent_side // 2, self.picture_side // 2

    def encode_image(self, pixels: Tensor) -> Tensor:
        with torch.no_grad(), self.residence.using("vae"):
            vae = self.vae
            found = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist
            latent: Tensor = drawn_latent(found, pixels) if self.manner.sample_latent else found.mode()
            return latent.float() * float(vae.config.scaling_factor)

    def decode(self, latents: Tensor) -> Tensor:
        with torch.no_grad(), self.residence.using("vae"):
            vae = self.vae
            scaled = latents.to(self.device, torch.float32) / float(vae.config.scaling_factor)
            pixels: Tensor = vae.decode(scaled.to(vae.dtype)).sample.float()
            return pixels.clamp(-1, 1)

    def tokenize(self, text: str, slots: Mapping[str, int] | None = None) -> Prompt:
        return self._reader.tokenize(text, {word: [slot] for word, slot in (slots or {}).items()})

    def tokenize_multi(self, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt:
        """As `tokenize`, with several learned vectors in a row for one word."""
        return self._reader.tokenize(text, slots)

    def encode_prompts(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None) -> Conditioning:
        if not prompts:
            raise StageInputError("there are no prompts to encode; give at least one")
        vectors = vectors or {}
        learning = torch.is_grad_enabled() and any(vector.requires_grad for vector in vectors.values())
        with self.residence.using(*self.encoders, *(["unet"] if learning else [])):
            if learning:
                self.residence.keep_until_backward(vectors.values())
            return self._reader.condition(prompts, vectors)

    def without_guidance(self, conditioning: Conditioning) -> Conditioning:
        """`conditioning` with its first prompt, the empty one that guidance leads away from, as the pipeline has it."""
        return conditioning

    def embedding_table(self, encoder: str) -> Tensor:
        self._require_encoder(encoder)
        weight = self._text_encoders()[encoder].get_input_embeddings().weight.detach()
        assert isinstance(weight, Tensor)
        return weight

    def word_ids(self, word: str, encoder: str) -> list[int]:
        self._require_encoder(encoder)
        return self._reader.word_ids(word)

    def words(self, encoder: str) -> dict[str, int]:
        self._require_encoder(encoder)
        return self._reader.words()

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        x_t: Tensor = self._schedule.add_noise(latents, noise, timesteps.to(latents.device))
        return x_t

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return latents
        velocity: Tensor = self._schedule.get_velocity(latents, noise, timesteps.to(latents.device))
        return velocity

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        dtype = resolve_dtype(self.precision)
        states = conditioning.states.to(self.device, dtype)
        batch = noisy.shape[0]
        if states.shape[0] not in (1, batch):
            raise StageInputError(f"{batch} latents need as many prompts, found {states.shape[0]}")
        added = {name: value.to(self.device).expand(batch, -1) for name, value in conditioning.added.items()}
        with self.residence.using("unet"):
            output: Tensor = self.unet(
                noisy.to(self.device, dtype),
                timesteps.to(self.device),
                encoder_hidden_states=states.expand(batch, -1, -1),
                added_cond_kwargs=added or None,
                return_dict=False,
            )[0]
        return output.float()

    def capture(self, *requests: Capture) -> AbstractContextManager[list[LayerMap]]:
        return capture_attention(self.unet, *requests)

    def capture_features(self, *blocks: int) -> AbstractContextManager[dict[int, Tensor]]:
        return capture_outputs(self.unet.up_blocks, *blocks)

    @contextmanager
    def train_weights(self, tuning: Tuning) -> Iterator[TrainedWeights]:
        from uce.plugins.backbones._sd.weights import trained_unet

        with self.residence.keeping("unet"), trained_unet(self.unet, tuning) as trained:
            yield trained

    @contextmanager
    def use_weights(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        from uce.plugins.backbones._sd.weights import weighted_unet

        with self.residence.keeping("unet"), weighted_unet(self.unet, weights, self.model):
            yield

    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        from uce.plugins.backbones._sd.pipeline import make_pipeline

        return make_pipeline(self, tokens or {}, weights)

    def generate(
        self,
        prompts: Sequence[str],
        tokens: Mapping[str, Mapping[str, Tensor]] | None = None,
        *,
        seeds: Sequence[int],
        steps: int = 25,
        guidance: float = 5.0,
        on_step: Any = None,
        negative: str = "",
        scheduler: str | None = None,
        into: Inpainting | None = None,
        regions: Regions | None = None,
    ) -> list[Any]:
        from uce.plugins.backbones._sd.generation import Drawing, generate

        sampler = scheduler or str(self.usual_drawing.get("scheduler", DEFAULT_SCHEDULER))
        how = Drawing(steps, guidance, negative, sampler, into, regions)
        return generate(self, prompts, tokens or {}, seeds=seeds, how=how, on_step=on_step)

    def _require_that_parts_fit(self, parts: Parts) -> None:
        unet, vae = parts.unet.config, parts.vae.config
        width = sum(encoder.config.hidden_size for encoder in self._text_encoders().values())
        if unet.in_channels != vae.latent_channels:
            raise ModelError(
                f"model '{parts.model}': the unet takes {unet.in_channels} channels and the vae gives "
                f"{vae.latent_channels}; inpainting and depth models cannot be used, choose the plain text-to-image one"
            )
        if unet.cross_attention_dim != width:
            raise ModelError(
                f"model '{parts.model}': the unet reads text states of width {unet.cross_attention_dim} and the "
                f"text_encoder gives {width}; the parts do not belong together"
            )
        if unet.sample_size is None:
            raise ModelError(
                f"model '{parts.model}': unet/config.json does not say sample_size; add it (64 for 512 px)"
            )

    def _require_encoder(self, encoder: str) -> None:
        if encoder not in self.encoders:
            raise StageInputError(f"unknown text encoder {encoder!r}; available: {', '.join(self.encoders)}")


def _accept_any_precision(vae: Any) -> None:
    """Let a VAE that is kept in float32 take the half precision latents and pictures of diffusers' pipelines."""

    def cast(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.to(vae.dtype) if isinstance(value, Tensor) else value for value in args)

    for entrance in (vae.encoder, vae.post_quant_conv if vae.config.use_post_quant_conv else vae.decoder):
        entrance.register_forward_pre_hook(cast)


def _schedule(config: Mapping[str, Any]) -> Any:
    """The noise schedule the model was trained with, whichever sampler its folder names."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    wanted = {key: value for key, value in config.items() if not key.startswith("_") and key != "variance_type"}
    schedule = DDPMScheduler.from_config(wanted)
    known = ("epsilon", "v_prediction", "sample")
    if schedule.config.prediction_type not in known:
        raise ModelError(f"unknown prediction type {schedule.config.prediction_type!r}; available: {', '.join(known)}")
    return schedule
