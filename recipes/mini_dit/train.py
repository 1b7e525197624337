"""Train `mini-dit` on composed scenes.

    python -m recipes.mini_dit --objects FOLDER --work FOLDER --minutes 12

Lays `mini`'s autoencoder, text encoder and appearance network into the work folder, composes scenes beside the
training, goes on from its checkpoint (exactly with --steps; with --minutes the rate follows the clock), and writes a
diffusers folder to `export/` from the moving average. Flow matching; Muon for hidden matrices, AdamW for the rest.
On a GPU: `--batch 1024 --grounded 128 --loaders 4 --composers 10 --compile`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from recipes.mini import grounding
from recipes.mini.appearance import AppearanceEncoder
from recipes.mini.batches import Batch
from recipes.mini.model import WIDTH, Injection
from recipes.mini.options import make_parser
from recipes.mini.options import parse as parse_all
from recipes.mini.trainer import Trainer, work
from recipes.mini.warm import load_appearance, load_text, prepare_work
from recipes.mini_dit.attention import attach
from recipes.mini_dit.export import export
from recipes.mini_dit.model import (
    HEADS,
    LAYERS,
    NARROW,
    make_text_encoder,
    make_transformer,
    shares_of_noise,
)
from uce.scenes.names import NAMES

SALIENT = 0.5
"""Share of an object cell's attention that the empty text should get; the rest is for other cells."""


class DitTrainer(Trainer):
    """A transformer that predicts the way from picture to noise."""

    outer = ("proj_out.", "narrow.")

    def make_model(self, tokenizer: CLIPTokenizer, parts: int) -> nn.ModuleDict:
        text, narrow = make_text_encoder(tokenizer), nn.Linear(WIDTH, NARROW, bias=False)
        load_text(text.text_model)
        nn.init.eye_(text.text_projection.weight)
        appearance = AppearanceEncoder(parts, WIDTH, len(NAMES))
        load_appearance(appearance)
        nn.init.orthogonal_(narrow.weight)
        text_2 = make_text_encoder(tokenizer, NARROW)
        with torch.no_grad():
            text_2.get_input_embeddings().weight.copy_(narrow(text.get_input_embeddings().weight))
        return nn.ModuleDict(
            {
                "transformer": make_transformer(self.options.layers, self.options.heads),
                "text": text,
                "text_2": text_2,
                "appearance": appearance,
                "narrow": narrow,
            }
        )

    def attend(self) -> None:
        layers = self.options.layers
        self.recorder = attach(self.model["transformer"], range(1, max(2, layers - 1)))
        self.second = Injection(self.model["text_2"])
        if self.options.compile:
            self.model["transformer"].compile()

    def conditions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States (B, T + 1, width) of both text encoders, the silent position last, and their summaries (B, width)."""
        vectors = self.mentions(batch)
        ids = batch.ids.clone()
        ids[batch.where[:, 0], batch.where[:, 1]] = self.tokenizer.pad_token_id  # a summary is read at the first end
        states, summaries = [], []
        given = ((self.injection, "text", vectors), (self.second, "text_2", self.model["narrow"](vectors)))
        for injection, name, rows in given:
            injection.where, injection.vectors = batch.where, rows
            output = self.model[name](input_ids=ids, output_hidden_states=True)
            injection.where = None
            states.append(output.hidden_states[-2])
            summaries.append(output.text_embeds)
        return functional.pad(torch.cat(states, dim=-1), (0, 0, 0, 1)), torch.cat(summaries, dim=-1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        x_0 = batch.latents * self.scale
        places = (batch.timesteps + torch.rand(len(x_0), device=self.device)) / 1000
        share = shares_of_noise(places)
        s, noise = share.view(-1, 1, 1, 1), torch.randn_like(x_0)
        self.recorder.clear()
        self.recorder.count = count = self.batches.grounded
        with self.autocast():
            states, summaries = self.conditions(batch)
            got = self.model["transformer"]((1 - s) * x_0 + s * noise, states, summaries, 1000 * share).sample
        empty, labels, most = batch.num_empty, batch.labels[:count], batch.mentioned.shape[-1] - 1
        mentioned = functional.pad(batch.mentioned, (0, 0, 0, 1))  # nothing at the silent position
        cross = self.recorder.cross_maps
        return {
            "velocity": grounding.weighted_error(got.float(), noise - x_0, batch.labels, self.options.objects_weight),
            "self": grounding.self_loss(self.recorder.self_maps, labels, most),
            "mention": grounding.mention_loss([m[empty:] for m in cross], labels[empty:], mentioned[empty:count]),
            "saliency": grounding.saliency_loss(
                [m[:empty].sum(-1, keepdim=True) for m in cross], labels[:empty], most, 0, SALIENT
            ),
        }

    def export(self) -> None:
        export(self.average, self.tokenizer, *self.named_rows(), self.scale, self.options.work)


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS, help="blocks")
    parser.add_argument("--heads", type=int, default=HEADS, help="heads of 32 channels")
    parser.add_argument(
        "--compile", action="store_true", help="compile the transformer; a minute before the first step"
    )
    parser.add_argument(
        "--composers", type=int, default=1, help="processes that compose scenes beside the training; 0: made elsewhere"
    )
    parser.set_defaults(processes=1)
    return parse_all(parser, given)


@contextmanager
def composing(options: argparse.Namespace) -> Iterator[None]:
    """Scenes are made beside the training, by processes that end with it."""
    common = ["--objects", str(options.objects), "--work", str(options.work), "--seed", str(options.seed)]
    count = ["--count", str(options.shards), "--stride", str(options.composers)]
    makers = [
        subprocess.Popen([sys.executable, "-m", "recipes.mini.shards", *common, *count, "--first", str(first)])
        for first in range(options.composers)
    ]
    try:
        yield
    finally:
        for maker in makers:
            maker.terminate()
            maker.wait()


def main(given: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    options = parse(given)
    if not (options.work / "vae").exists():
        prepare_work(options.work)
    options.scale = AutoencoderKL.load_config(options.work / "vae")["scaling_factor"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # batches are drawn by forked processes
    with composing(options):
        work(DitTrainer, options)
