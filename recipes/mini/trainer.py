"""Training as both small models are trained: updates, moving average, checkpoints, whatever the network is."""

from __future__ import annotations

import argparse
import copy
import math
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from transformers import CLIPTokenizer

from recipes.mini.appearance import appearance_table
from recipes.mini.batches import Batch, Batches, Mixture, object_words
from recipes.mini.captions import words_of_captions
from recipes.mini.model import Injection
from recipes.mini.muon import Muon, split_parameters
from recipes.mini.pace import Pace
from recipes.mini.parallel import share_gradients, share_out, share_weights
from recipes.mini.tokenizer import make_tokenizer
from uce.scenes.names import NAMES
from uce.scenes.objects import list_objects, load_object
from uce.scenes.things import make_loader

WORDS_SHARE = 0.5  # of the mentions of a named object use its word's own residual
GROUNDED = ("self", "mention", "saliency")


class Trainer(ABC):
    """Model, moving average, optimisers and data of one training run.

    A subclass makes the model and its loss. The model holds "text", a CLIP text encoder, and "appearance", what makes
    words of pictures.
    """

    outer: tuple[str, ...] = ()
    """Parts of names of matrices that are no hidden ones, beside those that every model has: AdamW's."""

    def __init__(self, options: argparse.Namespace, rank: int = 0) -> None:
        self.options, work, self.rank = options, options.work, rank
        stems = list_objects(options.objects, "train")
        self.tokenizer = make_tokenizer(words_of_captions() + object_words(NAMES), work / "tokenizer")
        loader = make_loader(lambda stem: load_object(options.objects, stem), stems)
        self.device = torch.device(options.device)
        self.table = torch.from_numpy(appearance_table(loader, stems, work / "appearance.npy")).to(self.device)
        words = [list(NAMES).index(s) if s in NAMES else -1 for s in stems]
        self.word_of = torch.tensor(words, device=self.device)
        torch.manual_seed(options.seed)
        self.model = self.make_model(self.tokenizer, self.table.shape[-1])
        self.model.to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.injection = Injection(self.model["text"])
        self.attend()
        self.matrices, others = split_parameters(self.model.named_parameters(), self.outer)
        self.owner = share_out([weight.numel() for weight in self.matrices], options.processes)
        own = [weight for weight, owner in zip(self.matrices, self.owner, strict=True) if owner == rank]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(own, lr=options.rate, weight_decay=0.02, dtype=torch.float32 if options.float32 else torch.bfloat16),
            torch.optim.AdamW(others, lr=options.rate / 2, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
        ]
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

    @abstractmethod
    def make_model(self, tokenizer: CLIPTokenizer, parts: int) -> nn.ModuleDict:
        """All that is trained; appearance comes in so many parts."""

    @abstractmethod
    def attend(self) -> None:
        """Prepare the model that is trained (not its moving average) to note its attention."""

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All terms of the loss for one batch: "velocity" and those of `GROUNDED`."""

    @abstractmethod
    def export(self) -> None:
        """Write the diffusers folder of the moving average."""

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

    def mentions(self, batch: Batch) -> Tensor:
        """Vectors (M, width) of what a batch mentions, by appearance or by word."""
        objects, variants = batch.things[:, 0], batch.things[:, 1]
        by_word = (variants == 0) & (torch.rand(len(objects), device=self.device) < WORDS_SHARE)
        rows = torch.where(by_word, self.word_of[objects], -1)
        vectors: Tensor = self.model["appearance"](self.table[objects, variants], rows)
        return vectors

    def autocast(self) -> torch.autocast:
        """Passes in bfloat16, where it is not switched off."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=not self.options.float32)

    def named_rows(self) -> tuple[Tensor, Tensor]:
        """Numbers of the words whose objects are there, and these objects' appearance."""
        some = self.word_of >= 0
        return self.word_of[some].cpu(), self.table[some, 0].cpu()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the weights and of their moving average; gives the terms of the loss."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.step * 16 + self.rank)
        self.model.train()
        terms = self.losses(batch.to(self.device))
        loss = terms["velocity"] + sum(self.options.grounding * terms[k] for k in GROUNDED)
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


def work_as(rank: int, kind: type[Trainer], options: argparse.Namespace) -> None:
    """One process of the run."""
    if rank:
        os.setsid()  # where the kernel shares time by session, each process gets a thread's share
    torch.set_num_threads(options.threads)
    if options.processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{options.meeting}", rank=rank, world_size=options.processes
        )
    run(kind(options, rank))


def work(kind: type[Trainer], options: argparse.Namespace) -> None:
    """All processes of the run."""
    with tempfile.TemporaryDirectory() as folder:
        options.meeting = Path(folder) / "meeting"
        if options.processes == 1:
            work_as(0, kind, options)
        else:
            spawn(work_as, (kind, options), nprocs=options.processes)  # type: ignore[no-untyped-call]
