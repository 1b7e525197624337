"""Which device, precision and threads a run uses; what "auto" means is decided once and stored."""

from __future__ import annotations

import os
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


def allowed_threads() -> int:
    """CPU threads of a run: OMP_NUM_THREADS where the user set it, else the cores that this process may use.

    Those are what affinity and a container's quota allow. What other programs keep busy at the moment is left out on
    purpose: a second run would then compute other sums than the first. Threads that wait sleep (`uce.waiting`), so
    that a busy neighbour costs little.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ or threads == 1:
        return threads
    import joblib

    cores: int = joblib.cpu_count()
    return max(1, min(threads, cores))


def resolve_run(run: RunSettings) -> RunSettings:
    """Replace every "auto" and 0 by what this machine gives, so that a repeated run computes the same sums."""
    device = resolve_device(run.device)
    precision = run.precision
    if precision == "auto":
        precision = _usual_precision(device)
    threads = run.threads or allowed_threads()
    return run.model_copy(update={"device": device, "precision": precision, "threads": threads})


def _usual_precision(device: str) -> Literal["float32", "bfloat16", "float16"]:
    """bfloat16 where the card computes with it (Ampere and later), float16 on older cards, float32 elsewhere.

    Learning in float16 keeps the token rows in float32 and scales the loss, so that gradients do not vanish.
    """
    if not device.startswith("cuda"):
        return "float32"
    with torch.cuda.device(device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
