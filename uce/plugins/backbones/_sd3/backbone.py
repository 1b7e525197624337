"""The backbone face over Stable Diffusion 3 and 3.5.

Legend: B batch; L positions of CLIP, then of T5; D width of T5's states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from uce.core import Conditioning, ModelError, Prompt
from uce.plugins.backbones._transformer.backbone import TransformerBackbone
from uce.plugins.backbones._transformer.loading import Layout

_CLIP = "CLIPTextModelWithProjection"
LAYOUT = Layout(
    pipeline="StableDiffusion3Pipeline",
    title="Stable Diffusion 3",
    transformer="SD3Transformer2DModel",
    clips={"clip_l": ("tokenizer", "text_encoder", _CLIP), "clip_g": ("tokenizer_2", "text_encoder_2", _CLIP)},
    t5=("tokenizer_3", "text_encoder_3"),
    t5_optional=True,
)


class StableDiffusion3Backbone(TransformerBackbone):
    """A loaded Stable Diffusion 3 model, with or without T5.

    The text that the picture attends to is that of both CLIPs side by side, then that of T5; both CLIPs' summaries go
    to every layer besides.
    """

    own_carriers = ("clip_l", "clip_g")

    @property
    def patch(self) -> int:
        return int(self.transformer.config.patch_size)

    def _own_side(self) -> int:
        return int(self.transformer.config.sample_size)

    def _latent_side(self, side: int | None, unit: int) -> int:
        found = super()._latent_side(side, unit)
        most = int(self.transformer.config.pos_embed_max_size) * self.patch
        if found > most:
            raise ModelError(f"model.side must be at most {most * unit} for model '{self.model}', found {side}")
        return found

    def _own_text_length(self) -> int:
        return 256

    @property
    def _clip_length(self) -> int:
        tokenizer, encoder = self.clips["clip_l"]
        return int(min(tokenizer.model_max_length, encoder.config.max_position_embeddings))

    def _begins(self) -> dict[str, int | None]:
        return {"clip_l": 0, "clip_g": 0, "t5": self._clip_length}

    def _condition(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor]) -> Conditioning:
        states, pooled = [], []
        for name, reader in self.text.clips.items():
            own = vectors.get(name) if name in self.encoders else None
            output = reader.outputs(prompts, own, output_hidden_states=True)
            states.append(output.hidden_states[-2])
            pooled.append(output.text_embeds)
        side_by_side, t5 = torch.cat(states, dim=-1), self.text.t5
        width = int(self.transformer.config.joint_attention_dim)
        padded = pad(side_by_side, (0, width - side_by_side.shape[-1]))
        said = padded.new_zeros(len(prompts), self.text_length, width)
        if t5 is not None:
            said = t5.states(prompts, vectors.get(t5.name) if t5.name in self.encoders else None).to(padded)
        return Conditioning(torch.cat([padded, said], dim=1), {"pooled": torch.cat(pooled, dim=-1)})

    def _pass(self, noisy: Tensor, timesteps: Tensor, states: Tensor, added: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.transformer(
            hidden_states=noisy,
            timestep=timesteps,
            encoder_hidden_states=states,
            pooled_projections=added["pooled"].to(noisy.dtype),
            return_dict=False,
        )[0]
        return output

    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        """A `StableDiffusion3Pipeline` around this model's weights; tokens and weights go into copies."""
        import copy

        from uce.plugins.backbones._sd.quiet import quiet_libraries
        from uce.plugins.backbones._transformer.pipeline import finished, with_tokens

        t5 = self.text.t5
        parts = dict(self.clips) | ({t5.name: (t5.tokenizer, t5.encoder)} if t5 else {})
        with quiet_libraries():
            import diffusers

            known = with_tokens(tokens or {}, parts, self.encoders)
            third = known[t5.name] if t5 else (None, None)
            pipe = diffusers.StableDiffusion3Pipeline(
                transformer=copy.deepcopy(self.transformer) if weights else self.transformer,
                scheduler=self.flow.scheduler(),
                vae=self.vae,
                text_encoder=known["clip_l"][1],
                tokenizer=known["clip_l"][0],
                text_encoder_2=known["clip_g"][1],
                tokenizer_2=known["clip_g"][0],
                text_encoder_3=third[1],
                tokenizer_3=third[0],
            )
            return finished(pipe, self, weights)
