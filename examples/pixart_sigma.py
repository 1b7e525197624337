"""PixArt-Sigma for `uce`, in one file: what a third party writes to add another diffusion transformer.

    uce run photo.jpg -o out --plugin examples/pixart_sigma.py --model path/to/PixArt-Sigma-XL-2-1024-MS

Text comes from T5 alone, and the picture attends to it in layers of their own (cross-attention), so that every
extractor for UNets reads this model as it is. Tokens are learned at T5's input. Tried on tiny random weights only.

Source: Chen et al., "PixArt-Sigma", ECCV 2024 (arXiv 2403.04692); computed is what the pipeline of diffusers computes.

Legend: B batch; L text positions; V learned vectors.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import uce
from uce.core import Conditioning, ModelError, Prompt, StageInputError, capture_attention

SPACE, LENGTH = "\u2581", 300


class PixArtSigmaPlugin:
    """PixArt-Sigma, with T5 as its only text encoder: a diffusers folder."""

    name = "pixart-sigma"

    @uce.hookimpl
    def uce_load_backbone(self, model: str, settings: Any, device: str, precision: str) -> PixArtSigmaBackbone | None:
        """Load a diffusers folder whose index names the pipeline; None for everything else."""
        try:
            index = json.loads((Path(model) / "model_index.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if index.get("_class_name") != "PixArtSigmaPipeline":
            return None
        import diffusers

        dtype = getattr(torch, precision)
        try:
            pipe = diffusers.PixArtSigmaPipeline.from_pretrained(model, torch_dtype=dtype, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"model '{model}' cannot be loaded ({error}); download it again") from error
        return PixArtSigmaBackbone(model, pipe, device, precision)


class PixArtSigmaBackbone:
    """See `uce.core.Backbone` for what each method promises. Only tokens are learned: there is no `train_weights`."""

    encoders = ("t5",)

    def __init__(self, model: str, pipe: Any, device: str, precision: str) -> None:
        self.model, self.device, self.precision = model, device, precision
        self.description = f"{model}, a PixArt-Sigma model"
        self.tokenizer, self.t5, self.vae = pipe.tokenizer, pipe.text_encoder, pipe.vae
        self.transformer, self.scheduler = pipe.transformer, pipe.scheduler
        for part in (self.t5, self.vae, self.transformer):
            part.requires_grad_(False).eval().to(device)
        self.latent_channels = int(self.vae.config.latent_channels)
        self.latent_side = int(self.transformer.config.sample_size)
        self.picture_side = self.latent_side * 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.num_timesteps = int(self.scheduler.config.num_train_timesteps)
        self.fingerprint = self._digest()

    def _digest(self) -> str:
        """Changes with the configuration and with a sample of every weight."""
        digest = hashlib.sha256(json.dumps(dict(self.transformer.config), default=str, sort_keys=True).encode())
        for part in (self.transformer, self.t5, self.vae):
            for value in part.parameters():
                digest.update(value.detach().flatten()[:64].float().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        mode = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mode()
        return mode.float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        scaled = latents.to(self.device, self.vae.dtype) / self.vae.config.scaling_factor
        return self.vae.decode(scaled).sample.float().clamp(-1, 1)

    def tokenize(self, text: str, slots: dict[str, int] | None = None) -> Prompt:
        """A copy of the tokenizer that knows the words cuts the text, as it would in diffusers."""
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.add_tokens(list(slots or {}))
        slot_of = {int(tokenizer.convert_tokens_to_ids(word)): slot for word, slot in (slots or {}).items()}
        found = [int(i) for i in tokenizer(text.lower().strip()).input_ids]
        if len(found) > LENGTH:
            raise StageInputError(f"the text has {len(found) - 1} tokens, PixArt-Sigma reads {LENGTH - 1}; shorten it")
        marks = [slot_of.get(i, -1) for i in found]
        ids = [self.tokenizer.unk_token_id if mark >= 0 else i for i, mark in zip(found, marks, strict=True)]
        rest = LENGTH - len(ids)
        return Prompt(
            text=text,
            ids={"t5": torch.tensor(ids + [self.tokenizer.pad_token_id] * rest)},
            slots={"t5": torch.tensor(marks + [-1] * rest)},
            end={"t5": len(found) - 1},
        )

    def encode_prompts(self, prompts: Any, vectors: Any = None) -> Conditioning:
        """As `_encode`, but that the picture may attend to all positions of an empty text: with its end alone to attend
        to, every cell would attend to that alike, and nothing would stand out."""
        conditioning = self._encode(prompts, vectors)
        empty = torch.tensor([[not prompt.text] for prompt in prompts], device=self.device)
        return Conditioning(conditioning.states, {"mask": conditioning.added["mask"].masked_fill(empty, 1)})

    def _encode(self, prompts: Any, vectors: Any) -> Conditioning:
        ids, slots = (torch.stack([getattr(p, k)["t5"] for p in prompts]).to(self.device) for k in ("ids", "slots"))
        ends = torch.tensor([[prompt.end["t5"]] for prompt in prompts], device=self.device)
        mask = (torch.arange(LENGTH, device=self.device)[None] <= ends).long()

        def learned(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            if vectors is None:
                return output
            return torch.where((slots >= 0)[..., None], vectors["t5"].to(output)[slots.clamp_min(0)], output)

        handle = self.t5.encoder.embed_tokens.register_forward_hook(learned)
        try:
            states = self.t5(ids, attention_mask=mask).last_hidden_state
        finally:
            handle.remove()
        return Conditioning(states, {"mask": mask})

    def embedding_table(self, encoder: str) -> torch.Tensor:
        return self.t5.get_input_embeddings().weight.detach()

    def word_ids(self, word: str, encoder: str) -> list[int]:
        return [int(i) for i in self.tokenizer(word, add_special_tokens=False).input_ids]

    def words(self, encoder: str) -> dict[str, int]:
        by_id = sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[1])
        found = {token.removeprefix(SPACE): row for token, row in by_id if token.startswith(SPACE)}
        return {word: row for word, row in found.items() if word.isascii() and word.isalpha()}

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        signal = self.scheduler.alphas_cumprod.to(latents.device)[timesteps.to(latents.device)][:, None, None, None]
        return signal.sqrt() * latents + (1 - signal).sqrt() * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return noise

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        batch, dtype = noisy.shape[0], self.transformer.dtype
        output = self.transformer(
            noisy.to(self.device, dtype),
            encoder_hidden_states=conditioning.states.to(dtype).expand(batch, -1, -1),
            encoder_attention_mask=conditioning.added["mask"].expand(batch, -1),
            timestep=timesteps.to(self.device).expand(batch),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return output[:, : self.latent_channels].float()  # the rest is the variance, which no sampler here uses

    def capture(self, *requests: Any) -> Any:
        return capture_attention(self.transformer, *requests)

    def pipeline(self, tokens: Any = None, weights: Any = None) -> Any:
        import diffusers

        tokenizer, t5 = copy.deepcopy(self.tokenizer), copy.deepcopy(self.t5) if tokens else self.t5
        for token, own in (tokens or {}).items():
            words = [token, *(f"{token}_{i}" for i in range(1, len(own["t5"])))]
            tokenizer.add_tokens(words)
            table = t5.resize_token_embeddings(max(len(tokenizer), t5.config.vocab_size), mean_resizing=False).weight
            table.data[tokenizer.convert_tokens_to_ids(words)] = own["t5"].to(table)
        return diffusers.PixArtSigmaPipeline(tokenizer, t5, self.vae, self.transformer, copy.deepcopy(self.scheduler))

    @torch.no_grad()
    def generate(
        self,
        prompts: Any,
        tokens: Any = None,
        *,
        seeds: Any,
        steps: int = 20,
        guidance: float = 4.5,
        on_step: Any = None,
    ) -> list[Any]:
        """As the pipeline draws, from the same seeds; of a token of several vectors the first counts."""
        slots = {token: row for row, token in enumerate(tokens or {})}
        vectors = {"t5": torch.cat([own["t5"][:1] for own in tokens.values()]).to(self.device)} if tokens else None
        pictures = []
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            read = [self.tokenize(""), self.tokenize(prompt, slots)]
            conditioning, scheduler = self._encode(read, vectors), copy.deepcopy(self.scheduler)
            scheduler.set_timesteps(steps, device=self.device)
            shape = (1, self.latent_channels, self.latent_side, self.latent_side)
            x_t = torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))).to(self.device)
            x_t = x_t * scheduler.init_noise_sigma
            for step, timestep in enumerate(scheduler.timesteps, start=1):
                both = scheduler.scale_model_input(x_t, timestep).expand(2, -1, -1, -1)
                free, guided = self.predict(both, timestep[None], conditioning).chunk(2)
                x_t = scheduler.step(free + guidance * (guided - free), timestep, x_t, return_dict=False)[0]
                if on_step is not None:
                    on_step(number * steps + step, len(prompts) * steps)
            values = ((self.decode(x_t)[0] + 1) * 127.5).round().to(torch.uint8)
            pictures.append(Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy())))
        return pictures


plugin = PixArtSigmaPlugin()
