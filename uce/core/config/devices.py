"""Which device, precision and threads a run uses; what "auto" means is decided once and stored."""

from __future__ import annotations

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


def resolve_run(run: RunSettings) -> RunSettings:
    """Replace every "auto" and 0 by what this machine gives, so that a repeated run computes the same sums."""
    device = resolve_device(run.device)
    precision = run.precision
    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    threads = run.threads or torch.get_num_threads()  # what torch finds: cores, affinity, OMP_NUM_THREADS
    return run.model_copy(update={"device": device, "precision": precision, "threads": threads})
