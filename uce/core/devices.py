"""Which device, precision and threads a run uses; what "auto" means is decided once and stored."""

from __future__ import annotations

import logging

import torch

from uce.core.config import Config
from uce.core.errors import ConfigError, ModelError
from uce.core.manager import Manager
from uce.core.run_settings import RunSettings

log = logging.getLogger(__name__)


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


def load_backbone(manager: Manager, config: Config) -> object:
    """Ask the backbone plugins for `config.model`; the first that understands it loads it.

    Raises:
        ModelError: none does.
    """
    backbone = manager.pm.hook.uce_load_backbone(
        model=config.model.name, settings=config.model, device=config.run.device, precision=config.run.precision
    )
    if backbone is None:
        known = ", ".join(sorted(manager.available("backbone"))) or "none"
        raise ModelError(
            f"no backbone plugin ({known}) understands the model {config.model.name!r}; give 'mini', a diffusers "
            "folder, a .safetensors file or a hub id of Stable Diffusion 1.x, 2.x or XL"
        )
    log.info("model %s loaded on %s, %s", config.model.name, config.run.device, config.run.precision)
    return backbone  # type: ignore[no-any-return]
