"""Which device, precision and threads a run uses; what "auto" means is decided once and stored."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal

import torch

from uce.core.errors import ConfigError
from uce.core.flow.run_settings import RunSettings


def resolve_device(name: str) -> str:
    """ "auto" becomes "cuda", "mps" or "cpu"; anything else must exist.

    Raises:
        ConfigError: unknown, or not on this machine.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    here = ["auto", "cpu", *(["cuda"] if cuda else []), *(["mps"] if mps else [])]
    if name == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    found = device is not None and (
        device.type == "cpu"
        or (device.type == "cuda" and cuda and (device.index or 0) < torch.cuda.device_count())
        or (device.type == "mps" and mps)
    )
    if not found:
        raise ConfigError(f"device {name!r} is not on this machine; available: {', '.join(here)}")
    return name


@cache
def free_threads() -> int:
    """CPU threads for this process: OMP_NUM_THREADS where the user set it, else as many as there are cores to spare.

    Cores are those that affinity and a container's quota allow, less those that other programs keep busy now: beside a
    busy core two threads are slower than one. Asked once, so that all runs of a process compute the same sums.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ or threads == 1:
        return threads
    import joblib

    cores: int = joblib.cpu_count()
    return max(1, min(threads, cores) - round(_busy_cores()))


def _busy_cores(seconds: float = 0.25) -> float:
    """How many of the cores that this process may use are busy with other things, while it itself rests."""
    import psutil

    used = psutil.cpu_percent(interval=seconds, percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(used))
    return float(sum(used[core] for core in mine if core < len(used))) / 100


def resolve_run(run: RunSettings) -> RunSettings:
    """Replace every "auto" and 0 by what this machine gives, so that a repeated run computes the same sums."""
    device = resolve_device(run.device)
    precision = run.precision
    if precision == "auto":
        precision = _usual_precision(device)
    threads = run.threads or free_threads()
    return run.model_copy(update={"device": device, "precision": precision, "threads": threads})


def _usual_precision(device: str) -> Literal["float32", "bfloat16", "float16"]:
    """bfloat16 where the card computes with it (Ampere and later), float16 on older cards, float32 elsewhere.

    Learning in float16 keeps the token rows in float32 and scales the loss, so that gradients do not vanish.
    """
    if not device.startswith("cuda"):
        return "float32"
    with torch.cuda.device(device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
