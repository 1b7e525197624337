"""Train the diffusion model of `mini` on composed scenes.

    python -m recipes.mini.train --objects FOLDER --work FOLDER --steps 6000

Makes what is missing in the work folder (tokenizer, appearance table; run `train_vae` and `shards`
first or beside it), resumes from its checkpoint exactly, exports a diffusers folder to
`export/` from the moving average. v-prediction; Muon for matrices, AdamW for the rest.
On a GPU: `--processes 1 --loaders 6`, and `--minutes` where the machine is lent for a time.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from recipes.mini import grounding
from recipes.mini.appearance import SCALE, AppearanceEncoder
from recipes.mini.batches import Batch
from recipes.mini.export import export
from recipes.mini.model import WIDTH, make_scheduler, make_text_encoder, make_unet
from recipes.mini.options import make_parser, parse
from recipes.mini.trainer import Trainer, work
from recipes.mini.warm import load_weights, prepare_work, save_warm_start
from uce.scenes.names import NAMES


class MiniTrainer(Trainer):
    """A UNet that predicts velocity on Stable Diffusion's schedule."""

    def make_model(self, tokenizer: CLIPTokenizer, parts: int) -> nn.ModuleDict:
        model = nn.ModuleDict(
            {
                "unet": make_unet().to(memory_format=torch.channels_last),
                "text": make_text_encoder(tokenizer),
                "appearance": AppearanceEncoder(parts, WIDTH, len(NAMES)),
            }
        )
        text: Any = model["text"]
        nn.init.normal_(text.get_input_embeddings().weight, std=SCALE)
        if self.options.warm:
            load_weights(model)
        return model

    def attend(self) -> None:
        self.recorder = grounding.attach(self.model["unet"])
        self.levels = make_scheduler().alphas_cumprod.to(self.device)

    def conditions(self, batch: Batch) -> Tensor:
        """Text encoder states (B, T, width), mentions by appearance or by word."""
        self.injection.where, self.injection.vectors = batch.where, self.mentions(batch)
        states: Tensor = self.model["text"](input_ids=batch.ids).last_hidden_state
        self.injection.where = None
        return states

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        x_0 = batch.latents * self.scale
        level = self.levels[batch.timesteps].view(-1, 1, 1, 1)
        noise = torch.randn_like(x_0)
        x_t = level.sqrt() * x_0 + (1 - level).sqrt() * noise
        velocity = level.sqrt() * noise - (1 - level).sqrt() * x_0
        self.recorder.clear()
        self.recorder.count = count = self.batches.grounded
        with self.autocast():
            states = self.conditions(batch)
            got = self.model["unet"](x_t.contiguous(memory_format=torch.channels_last), batch.timesteps, states).sample
        empty, labels = batch.num_empty, batch.labels[:count]
        most = batch.mentioned.shape[-1] - 1
        return {
            "velocity": grounding.weighted_error(got.float(), velocity, batch.labels, self.options.objects_weight),
            "self": grounding.self_loss(self.recorder.self_maps, labels, most),
            "mention": grounding.mention_loss(
                [m[empty:] for m in self.recorder.cross_maps], labels[empty:], batch.mentioned[empty:count]
            ),
            "saliency": grounding.saliency_loss([m[:empty] for m in self.recorder.cross_maps], labels[:empty], most, 1),
        }

    def export(self) -> None:
        export(self.average, self.tokenizer, *self.named_rows(), self.scale, self.options.work)
        save_warm_start(self.average, self.options.work, self.options.work / "warm_start.safetensors")


def main() -> None:
    """Train as the command line says."""
    parser = make_parser(__doc__)
    parser.add_argument("--warm", action="store_true", help="start from the committed weights")
    options = parse(parser)
    if options.warm and not (options.work / "vae").exists():
        prepare_work(options.work)
    options.scale = AutoencoderKL.load_config(options.work / "vae")["scaling_factor"]
    work(MiniTrainer, options)


if __name__ == "__main__":
    main()
