"""The command line of `train`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every training run has."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoint and export/")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--grounded", type=int, default=6, help="nearly clean pictures of a batch that carry grounding losses"
    )
    parser.add_argument("--grounding", type=float, default=0.03, help="weight of each grounding loss")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--cool", type=float, default=0.3, help="share of the steps over which the rate falls")
    parser.add_argument("--average", type=float, default=0.997, help="decay of the moving average")
    parser.add_argument("--minutes", type=float, default=0.0, help="length of the run, in place of --steps")
    parser.add_argument("--reuse", type=float, default=5, help="how often a scene is seen, on average")
    parser.add_argument("--shards", type=int, default=150, help="number of shards that will exist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--several", type=float, default=0.3, help="share of scenes of several objects kept for drawing"
    )
    parser.add_argument("--unnamed", type=float, default=0.5, help="share of single objects without a word kept")
    parser.add_argument("--objects-weight", type=float, default=2.5, help="weight of object cells in the loss")
    parser.add_argument(
        "--processes", type=int, default=1 if gpu else 2, help="single-threaded processes beat threads on two cores"
    )
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--loaders", type=int, default=0, help="worker processes that draw batches ahead")
    parser.add_argument("--log-every", type=int, default=20, help="steps between log lines")
    parser.add_argument("--threads", type=int, default=1, help="per process")
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--export-every", type=int, default=250, help="steps between exports")
    parser.add_argument("--float32", action="store_true", help="not in bfloat16, which a CPU may be slow at")
    return parser


def parse(parser: argparse.ArgumentParser, given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line of a training run."""
    options = parser.parse_args(given)
    if options.processes > 1 and (options.minutes or options.device != "cpu"):
        parser.error("--minutes and a GPU need --processes 1")
    return options
