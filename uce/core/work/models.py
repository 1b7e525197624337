"""The loaded model: loaded when asked for, kept for the next run, on the settings of torch that a run asks for.

One thread at a time works with it (`my_turn`): watching attention and training change a model while they last, and
torch's settings are those of the whole process.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from uce.core.config.options import Options, usual_samples
from uce.core.config.resolving import load_config_file
from uce.core.errors import ConfigError, ModelError
from uce.core.flow.configuration import Config
from uce.core.model.backbone import Backbone
from uce.core.model.kinship import stamp
from uce.core.registry.host import Call
from uce.core.registry.manager import Manager

log = logging.getLogger(__name__)


def load_backbone(manager: Manager, config: Config) -> object:
    """Ask the backbone plugins for `config.model`; the first that understands it loads it.

    Raises:
        ModelError: none does.
    """
    if sys.flags.optimize > 1:
        raise ModelError(
            "Python was started without docstrings (-OO, or PYTHONOPTIMIZE=2), and transformers reads its own; "
            "start it without, or with -O"
        )
    backbone = Call(manager.pm.hook.uce_load_backbone)(
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


class _Holder:
    """The model that is loaded, and whose turn it is to work with it.

    Attributes:
        turn: held by the thread that works.
        threads: the most CPU threads that were at work here: those of a parent are missing in a forked child.
        forked: this process was forked from one that had worked.
    """

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self.threads, self.forked = 0, False
        self._key: tuple[Any, ...] | None = None
        self._backbone: Backbone | None = None

    def get(self, manager: Manager, config: Config) -> Backbone:
        """The configured model; the last one stays loaded."""
        plugins = tuple(sorted(info.distribution for info in manager.available("backbone").values()))
        key = (config.model, stamp(config.model), config.run.device, config.run.precision, plugins)
        with self.turn:
            if self._backbone is None or key != self._key:
                self.forget()
                self.threads = max(self.threads, torch.get_num_threads())
                found: Any = load_backbone(manager, config)
                self._key, self._backbone = key, found
            return self._backbone

    def forget(self) -> None:
        self._key = self._backbone = None

    def in_child(self) -> None:
        """After a fork: a lock that another thread of the parent held, and torch's threads, which are gone, would be
        waited for for ever."""
        self.turn = threading.RLock()
        if self.threads > 1:
            self.forked = True
            torch.set_num_threads(1)


_holder = _Holder()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_holder.in_child)


@contextmanager
def my_turn() -> Iterator[None]:
    """Work with a model, one thread of this process after the other; a thread may ask again within its turn."""
    with _holder.turn:
        yield


def backbone_for(manager: Manager, config: Config) -> Backbone:
    """The configured model; the last one stays loaded, since it is left as it was found."""
    return _holder.get(manager, config)


def own_backbone(config_file: Path, device: str | None = None) -> Backbone:
    """As `stored_backbone`, for somebody who may change it: nobody else gets it, before or after."""
    forget_backbone()
    with my_turn():
        found = stored_backbone(config_file, device)
        forget_backbone()
    return found


def stored_backbone(
    config_file: Path, device: str | None = None, plugin: str | Path | Sequence[str | Path] = ()
) -> Backbone:
    """The model that a stored configuration names, on `device` (None: "auto")."""
    document = load_config_file(config_file)
    options = Options.of({"device": device or "auto", "plugin": plugin})
    manager = options.manager()
    plain = {"model": document.get("model", {}), "run": {"precision": document.get("run", {}).get("precision")}}
    return backbone_for(manager, options.resolve(manager, base=plain))


def settle_micro_batch(config: Config, backbone: Backbone) -> Config:
    """Decide the prompts per UNet pass once, so that a repeated or resumed run computes the same sums."""
    from uce.core.model.costs import carry_out, plan_for
    from uce.core.training.updates import choose_micro_batch

    plan = plan_for(backbone, config.model, config.run.micro_batch)
    if plan is not None:
        carry_out(plan, backbone)
    changes = usual_samples(config.run, getattr(backbone, "usual_drawing", {}))
    if not config.run.micro_batch:
        changes["micro_batch"] = choose_micro_batch(backbone) if plan is None else plan.micro_batch
    if not changes:
        return config
    run = config.run.model_copy(update=changes)
    return dataclasses.replace(config, run=run)


def forget_backbone() -> None:
    """Let go of the model that is loaded, where others will load their own."""
    with my_turn():
        _holder.forget()


@contextmanager
def torch_settings(config: Config) -> Iterator[None]:
    """The run's threads and deterministic sums, put back afterwards; no other run of this process meanwhile.

    Raises:
        ConfigError: this process was forked from one that had worked with several threads, where torch would hang.
    """
    with my_turn():
        _require_threads(config)
        with _settings(config):
            yield


def _require_threads(config: Config) -> None:
    if _holder.forked and config.run.threads > 1:
        raise ConfigError(
            "this process was forked from one in which torch's threads had worked, and would hang with more than one; "
            "start it with multiprocessing.get_context('spawn'), or set run.threads=1"
        )
    _holder.threads = max(_holder.threads, config.run.threads)


@contextmanager
def _settings(config: Config) -> Iterator[None]:
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    sums: Any = torch.utils.deterministic
    filled = sums.fill_uninitialized_memory
    try:
        torch.set_num_threads(config.run.threads)
        if config.run.device == "cpu":
            torch.use_deterministic_algorithms(True, warn_only=True)
            # only shows reads of memory that nobody wrote; filling every tensor that is about to be written costs 5%
            sums.fill_uninitialized_memory = False
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        sums.fill_uninitialized_memory = filled
