"""Train the diffusion model of `mini` on composed scenes.

    python -m recipes.mini.train --objects FOLDER --work FOLDER --steps 6000

Makes what is missing in the work folder (tokenizer, appearance table; run `train_vae` and `shards`
first or beside it), resumes from its checkpoint exactly, exports a diffusers folder to
`export/` from the moving average. v-prediction; Muon for matrices, AdamW for the rest.
On a GPU: `--processes 1 --loaders 6`, and `--minutes` where the machine is lent for a time.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from recipes.mini import grounding
from recipes.mini.appearance import SCALE, AppearanceEncoder, appearance_table
from recipes.mini.batches import Batch, Batches, Mixture, object_words
from recipes.mini.captions import words_of_captions
from recipes.mini.export import export
from recipes.mini.model import WIDTH, Injection, make_scheduler, make_text_encoder, make_unet
from recipes.mini.muon import Muon, split_parameters
from recipes.mini.options import parse
from recipes.mini.pace import Pace
from recipes.mini.parallel import share_gradients, share_out, share_weights
from recipes.mini.tokenizer import make_tokenizer
from recipes.mini.warm import load_weights, prepare_work, save_warm_start
from uce.scenes.objects import list_objects, load_object, named_objects
from uce.scenes.things import make_loader

WORDS_SHARE = 0.5  # of the mentions of a named object use its word's own residual


class Trainer:
    """Model, moving average, optimisers and data of one training run."""

    def __init__(self, options: argparse.Namespace, rank: int = 0) -> None:
        self.options, work, self.rank = options, options.work, rank
        stems = list_objects(options.objects, "train")
        self.named = named_objects(options.objects)
        self.tokenizer = make_tokenizer(words_of_captions() + object_words(self.named), work / "tokenizer")
        loader = make_loader(lambda stem: load_object(options.objects, stem), stems)
        self.device = torch.device(options.device)
        self.table = torch.from_numpy(appearance_table(loader, stems, work / "appearance.npy")).to(self.device)
        words = [list(self.named).index(s) if s in self.named else -1 for s in stems]
        self.word_of = torch.tensor(words, device=self.device)
        torch.manual_seed(options.seed)
        self.model = nn.ModuleDict(
            {
                "unet": make_unet().to(memory_format=torch.channels_last),
                "text": make_text_encoder(self.tokenizer),
                "appearance": AppearanceEncoder(self.table.shape[-1], WIDTH, len(self.named)),
            }
        )
        text: Any = self.model["text"]
        nn.init.normal_(text.get_input_embeddings().weight, std=SCALE)
        if options.warm:
            load_weights(self.model)
        self.model.to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.injection = Injection(self.model["text"])
        self.recorder = grounding.attach(self.model["unet"])
        self.matrices, others = split_parameters(self.model.named_parameters())
        self.owner = share_out([weight.numel() for weight in self.matrices], options.processes)
        own = [weight for weight, owner in zip(self.matrices, self.owner, strict=True) if owner == rank]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(own, lr=options.rate, weight_decay=0.02),
            torch.optim.AdamW(others, lr=options.rate / 2, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
        ]
        self.levels = make_scheduler().alphas_cumprod.to(self.device)
        self.pace = Pace(options.rate, options.cool, options.steps, options.minutes)
        self.scale = options.scale
        mixture = Mixture(
            options.seed,
            options.batch // options.processes,
            options.grounded // options.processes,
            options.shards,
            options.processes,
            options.several,
            options.unnamed,
            options.reuse,
        )
        self.batches = Batches(work, self.tokenizer, mixture, (self.word_of >= 0).cpu().numpy(), rank)
        self.step, self.seconds = 0, 0.0
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that this process goes on from."""
        path: Path = self.options.work / f"checkpoint.{self.rank}.pt"
        return path

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        self.step, self.seconds = state["step"], state["seconds"]
        print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        """Write the checkpoint; it appears whole. Each process keeps the momenta of the weights it owns."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        half = self.checkpoint.with_suffix(".part")
        torch.save(state, half)
        half.replace(self.checkpoint)

    def conditions(self, batch: Batch) -> Tensor:
        """Text encoder states (B, T, width), mentions by appearance or by word."""
        objects, variants = batch.things[:, 0], batch.things[:, 1]
        words = self.word_of[objects]
        by_word = (variants == 0) & (torch.rand(len(objects), device=self.device) < WORDS_SHARE)
        rows = torch.where(by_word, words, -1)
        self.injection.where = batch.where
        self.injection.vectors = self.model["appearance"](self.table[objects, variants], rows)
        states: Tensor = self.model["text"](input_ids=batch.ids).last_hidden_state
        self.injection.where = None
        return states

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All terms of the loss for one batch."""
        x_0 = batch.latents * self.scale
        level = self.levels[batch.timesteps].view(-1, 1, 1, 1)
        noise = torch.randn_like(x_0)
        x_t = level.sqrt() * x_0 + (1 - level).sqrt() * noise
        velocity = level.sqrt() * noise - (1 - level).sqrt() * x_0
        self.recorder.clear()
        self.recorder.count = count = self.batches.grounded
        with torch.autocast(self.device.type, torch.bfloat16):
            states = self.conditions(batch)
            got = self.model["unet"](x_t.contiguous(memory_format=torch.channels_last), batch.timesteps, states).sample
        shown = functional.interpolate((batch.labels[:, None] > 0).float(), got.shape[-2:])
        weight = 1 + (self.options.objects_weight - 1) * shown  # objects are what is hard and what counts
        error = ((got.float() - velocity).square() * weight).sum((1, 2, 3)) / weight.expand_as(got).sum((1, 2, 3))
        empty, labels = batch.num_empty, batch.labels[:count]
        most = batch.mentioned.shape[-1] - 1
        return {
            "velocity": error.mean(),
            "self": grounding.self_loss(self.recorder.self_maps, labels, most),
            "mention": grounding.mention_loss(
                [m[empty:] for m in self.recorder.cross_maps], labels[empty:], batch.mentioned[empty:count]
            ),
            "saliency": grounding.saliency_loss([m[:empty] for m in self.recorder.cross_maps], labels[:empty], most, 1),
        }

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the weights and of their moving average; gives the terms of the loss."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.step * 16 + self.rank)
        self.model.train()
        terms = self.losses(batch.to(self.device))
        loss = terms["velocity"] + sum(self.options.grounding * terms[k] for k in ("self", "mention", "saliency"))
        rate = self.pace.at(self.step, self.seconds)
        for optimizer, share in zip(self.optimizers, (1.0, 0.5), strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        loss.backward()
        share_gradients(list(self.model.parameters()), self.options.processes)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        share_weights(self.matrices, self.owner, self.rank, self.options.processes)
        self.step += 1
        keep = min(self.options.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), [p.detach() for p in self.model.parameters()], 1 - keep)
        return {name: value.detach() for name, value in terms.items()}

    def export(self) -> None:
        """Write the diffusers folder of the moving average."""
        rows = self.table[self.word_of >= 0][torch.argsort(self.word_of[self.word_of >= 0]), 0].cpu()
        export(self.average, self.tokenizer, rows, self.named, self.scale, self.options.work)
        save_warm_start(self.average, self.options.work, self.options.work / "warm_start.safetensors")


def run(trainer: Trainer) -> None:
    """Train to the last step, with log lines, checkpoints and exports on the way."""
    options = trainer.options
    running: dict[str, Tensor] = {}
    stop = sys.maxsize if options.minutes else options.steps
    batches = trainer.batches.from_step(trainer.step, stop, options.loaders)
    first, before = trainer.step, trainer.seconds
    start = time.monotonic() - before
    while trainer.step < stop and trainer.pace.done(trainer.step, trainer.seconds) < 1:
        for name, value in trainer.update(next(batches)).items():
            running[name] = value.lerp(running.get(name, value), 0.97)
        trainer.seconds = time.monotonic() - start
        if trainer.step % options.log_every == 0:
            check(trainer.step, running)
            if trainer.rank == 0:
                speed = (trainer.step - first) * options.batch / (trainer.seconds - before)
                log(trainer, running, speed)
        if trainer.step % options.save_every == 0:
            trainer.save()
        if trainer.step % options.export_every == 0 and trainer.rank == 0:
            trainer.export()
    trainer.save()
    if trainer.rank == 0:
        trainer.export()


def check(step: int, losses: dict[str, Tensor]) -> None:
    """Stop where a loss is no longer finite."""
    for name, value in losses.items():
        if not math.isfinite(value):
            raise SystemExit(f"{name} loss is {value} at step {step}; go on from the checkpoint with a lower --rate")


def log(trainer: Trainer, losses: dict[str, Tensor], speed: float) -> None:
    """One line: time, step, pictures a second, rate, losses."""
    rate = trainer.pace.at(trainer.step, trainer.seconds)
    text = " ".join(f"{name} {float(value):.4f}" for name, value in losses.items())
    print(f"{time.strftime('%H:%M:%S')} step {trainer.step} {speed:.1f}/s rate {rate:.2g} {text}", flush=True)


def work_as(rank: int, options: argparse.Namespace) -> None:
    """One process of the run."""
    if rank:
        os.setsid()  # where the kernel shares time by session, each process gets a thread's share
    torch.set_num_threads(options.threads)
    if options.processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{options.meeting}", rank=rank, world_size=options.processes
        )
    run(Trainer(options, rank))


def main() -> None:
    """Train as the command line says."""
    options = parse(__doc__)
    if options.warm and not (options.work / "vae").exists():
        prepare_work(options.work)
    options.scale = AutoencoderKL.load_config(options.work / "vae")["scaling_factor"]
    with tempfile.TemporaryDirectory() as folder:
        options.meeting = Path(folder) / "meeting"
        if options.processes == 1:
            work_as(0, options)
        else:
            spawn(work_as, (options,), nprocs=options.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
