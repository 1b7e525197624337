"""The backbone face over FLUX.1.

Legend: B batch; C latent channels; h, w latent cells; N packed cells, h * w / 4; L positions of T5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from uce.core import Conditioning, Prompt
from uce.plugins.backbones._transformer.backbone import TransformerBackbone
from uce.plugins.backbones._transformer.loading import Layout

LAYOUT = Layout(
    pipeline="FluxPipeline",
    title="FLUX.1",
    transformer="FluxTransformer2DModel",
    clips={"clip_l": ("tokenizer", "text_encoder", "CLIPTextModel")},
    t5=("tokenizer_2", "text_encoder_2"),
)
LEARNING_GUIDANCE = 1.0
"""The guidance that a guidance-distilled model reads while it localises and learns: 1 is the data's own."""


class FluxBackbone(TransformerBackbone):
    """A loaded FLUX.1 model: dev (which reads its guidance), schnell (which has none) or a fine-tune of either.

    The text that the picture attends to is T5's; CLIP's summary goes to every layer besides.
    """

    own_carriers = ("t5",)
    even_times = True

    def _own_side(self) -> int:
        return 128

    def _own_text_length(self) -> int:
        return 512 if self.transformer.config.guidance_embeds else 256

    def _begins(self) -> dict[str, int | None]:
        return {"t5": 0, "clip_l": None}

    def _condition(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor]) -> Conditioning:
        reader, t5 = self.text.clips["clip_l"], self.text.t5
        assert t5 is not None
        own = vectors.get("clip_l") if "clip_l" in self.encoders else None
        pooled: Tensor = reader.outputs(prompts, own).pooler_output
        states = t5.states(prompts, vectors.get(t5.name) if t5.name in self.encoders else None)
        return Conditioning(states, {"pooled": pooled})

    @property
    def takes_negative(self) -> bool:
        return False

    def guided(self, conditioning: Conditioning, guidance: float) -> Conditioning:
        given = torch.full((conditioning.states.shape[0],), float(guidance))
        return Conditioning(conditioning.states, {**conditioning.added, "guidance": given})

    def _pass(self, noisy: Tensor, timesteps: Tensor, states: Tensor, added: Mapping[str, Tensor]) -> Tensor:
        batch, _, height, width = noisy.shape
        guidance = None
        if self.transformer.config.guidance_embeds:
            one = torch.full((batch,), LEARNING_GUIDANCE, device=noisy.device)
            guidance = added.get("guidance", one).to(torch.float32)
        packed: Tensor = self.transformer(
            hidden_states=pack(noisy),
            timestep=timesteps.to(noisy.dtype) / self.num_timesteps,
            guidance=guidance,
            pooled_projections=added["pooled"].to(noisy.dtype),
            encoder_hidden_states=states,
            txt_ids=torch.zeros(states.shape[1], 3, device=noisy.device, dtype=noisy.dtype),
            img_ids=places(height // 2, width // 2).to(noisy),
            return_dict=False,
        )[0]
        return unpack(packed, height, width)

    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        """A `FluxPipeline` around this model's weights; tokens and weights go into copies."""
        import copy

        from uce.plugins.backbones._sd.quiet import quiet_libraries
        from uce.plugins.backbones._transformer.pipeline import finished, with_tokens

        t5 = self.text.t5
        assert t5 is not None
        with quiet_libraries():
            import diffusers

            parts = dict(self.clips) | {t5.name: (t5.tokenizer, t5.encoder)}
            known = with_tokens(tokens or {}, parts, self.encoders)
            pipe = diffusers.FluxPipeline(
                transformer=copy.deepcopy(self.transformer) if weights else self.transformer,
                scheduler=self.flow.scheduler(),
                vae=self.vae,
                text_encoder=known["clip_l"][1],
                tokenizer=known["clip_l"][0],
                text_encoder_2=known[t5.name][1],
                tokenizer_2=known[t5.name][0],
            )
            return finished(pipe, self, weights)


def pack(latents: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, N, 4 C): every 2 x 2 cells become one token."""
    batch, channels, height, width = latents.shape
    parts = latents.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack(packed: Tensor, height: int, width: int) -> Tensor:
    """(B, N, 4 C) -> (B, C, h, w)."""
    parts = packed.reshape(packed.shape[0], height // 2, width // 2, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(packed.shape[0], -1, height, width)


def places(rows: int, columns: int) -> Tensor:
    """Row and column of every packed cell, float32 (N, 3)."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], dim=-1).reshape(-1, 3).float()
