"""The loaded model: loaded when asked for, kept for the next run, on the settings of torch that a run asks for."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from uce.core.config.options import Options
from uce.core.config.resolving import load_config_file
from uce.core.errors import ModelError
from uce.core.flow.configuration import Config
from uce.core.model.backbone import Backbone
from uce.core.registry.manager import Manager

log = logging.getLogger(__name__)


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
            "folder, a .safetensors file or a hub id of Stable Diffusion 1.x, 2.x, XL, 3 or 3.5, or of FLUX.1"
        )
    log.info("model %s loaded on %s, %s", config.model.name, config.run.device, config.run.precision)
    return backbone  # type: ignore[no-any-return]


_last_backbone: dict[tuple[Any, ...], Backbone] = {}


def backbone_for(manager: Manager, config: Config) -> Backbone:
    """The configured model; the last one stays loaded, since it is left as it was found."""
    plugins = tuple(sorted(info.distribution for info in manager.available("backbone").values()))
    key = (config.model, config.run.device, config.run.precision, plugins)
    if key not in _last_backbone:
        _last_backbone.clear()
        backbone: Any = load_backbone(manager, config)
        _last_backbone[key] = backbone
    return _last_backbone[key]


def stored_backbone(config_file: Path, device: str | None = None, plugin: Sequence[str] = ()) -> Backbone:
    """The model that a stored configuration names, on `device` (None: "auto")."""
    document = load_config_file(config_file)
    options = Options(device=device or "auto", plugin=plugin)
    manager = options.manager()
    plain = {"model": document.get("model", {}), "run": {"precision": document.get("run", {}).get("precision")}}
    return backbone_for(manager, options.resolve(manager, base=plain))


def settle_micro_batch(config: Config, backbone: Backbone) -> Config:
    """Decide the prompts per UNet pass once, so that a repeated or resumed run computes the same sums."""
    if config.run.micro_batch:
        return config
    from uce.core.training.updates import choose_micro_batch

    run = config.run.model_copy(update={"micro_batch": choose_micro_batch(backbone)})
    return dataclasses.replace(config, run=run)


def forget_backbone() -> None:
    """Let go of the model that is loaded, where others will load their own."""
    _last_backbone.clear()


def current_backbone() -> Backbone | None:
    """The model that is loaded now."""
    return next(iter(_last_backbone.values()), None)


@contextmanager
def torch_settings(config: Config) -> Iterator[None]:
    """The run's threads and deterministic sums, put back afterwards."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    sums: Any = torch.utils.deterministic
    filled = sums.fill_uninitialized_memory
    torch.set_num_threads(config.run.threads)
    if config.run.device == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        # only shows reads of memory that nobody wrote; filling every tensor that a kernel is about to write costs 5%
        sums.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        sums.fill_uninitialized_memory = filled
