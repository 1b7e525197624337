"""From options to a pipeline that is ready to work: plugins, configuration, model and picture, in that order.

Whatever can be refused without loading a model is refused first; nothing is written before all of it is sound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from uce.core.backbone import Backbone
from uce.core.config import Config, load_config_file, resolve_config
from uce.core.devices import load_backbone, resolve_run
from uce.core.errors import ConfigError, UceError
from uce.core.manager import Manager, load_manager
from uce.core.provenance import require_makers
from uce.core.tracking import trackers

_last_backbone: dict[tuple[Any, ...], Backbone] = {}


@dataclass(frozen=True)
class Options:
    """What the command line and the Python functions accept alike; None leaves the choice to the configuration."""

    model: str | None = None
    extractor: str | None = None
    clusterer: str | None = None
    refiner: str | Sequence[str] | None = None
    initializer: str | None = None
    optimizer: str | None = None
    set: Sequence[str] | Mapping[str, Any] = ()
    config: str | Path | None = None
    preset: str | None = None
    seed: int | None = None
    concepts: Sequence[int] | None = None
    names: Sequence[str] | None = None
    device: str | None = None
    precision: str | None = None
    plugin: Sequence[str] = ()
    no_plugin: Sequence[str] = ()
    observers: Sequence[Any] = ()
    tracker: str | Sequence[str] = ()

    def manager(self) -> Manager:
        """A fresh plugin manager with observers and trackers registered."""
        manager = load_manager(self.plugin, self.no_plugin)
        for observer in (*self.observers, *trackers(self.tracker)):
            manager.pm.register(observer)
        return manager

    def resolve(self, manager: Manager, base: Mapping[str, Any] | None = None, origin: Path | None = None) -> Config:
        """The configuration with every "auto" decided.

        Args:
            manager: where plugins are looked up.
            base: a stored configuration that stands in the place of a file that the user did not give.
            origin: the file that `base` was read from; its run's plugins must be here.
        """
        document = load_config_file(self.config) if self.config is not None else base
        self._require_makers(manager, document or {}, origin)
        refiners = [self.refiner] if isinstance(self.refiner, str) else self.refiner
        assignments = list(self.set) if not isinstance(self.set, Mapping) else []
        values: dict[str, Any] = {
            "model.name": None if self.model is None else str(self.model),
            "run.seed": self.seed,
            "run.concepts": None if self.concepts is None else list(self.concepts),
            "run.names": None if self.names is None else list(self.names),
            "run.device": self.device,
            "run.precision": self.precision,
        }
        if isinstance(self.set, Mapping):
            from yaml import safe_dump

            assignments = [f"{k}={safe_dump(v, default_flow_style=True)}" for k, v in self.set.items()]
        stages = ("extractor", "clusterer", "initializer", "optimizer")
        config = resolve_config(
            manager,
            preset=self.preset,
            document=document,
            plugins={stage: getattr(self, stage) for stage in stages},
            refiners=refiners,
            values=values,
            assignments=assignments,
        )
        return dataclasses.replace(config, run=resolve_run(config.run))

    def completed(self, manager: Manager, document: Mapping[str, Any]) -> dict[str, Any]:
        """A stored configuration with what later versions added, at its default; as it is where it is wrong."""
        try:
            found = Options().resolve(manager, base=document).to_dict()
        except UceError:
            return dict(document)
        return _filled(document, found)

    def _require_makers(self, manager: Manager, document: Mapping[str, Any], origin: Path | None) -> None:
        """A configuration that lies in a run folder needs the plugins that made the run."""
        stages = ("extractor", "clusterer", "refiner", "initializer", "optimizer")
        chosen = [stage for stage in stages if getattr(self, stage)]
        if self.config is not None:
            require_makers(manager, self.config, document, chosen, ", or choose another with --{stage}")
        elif origin is not None:
            require_makers(manager, origin, document, chosen, ", or run the picture again with --overwrite")


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


def require_same(stored: Mapping[str, Any], config: Config, folder: Path) -> None:
    """A resumed run must be the run that was begun.

    Raises:
        ConfigError: a setting differs; the first difference is named.
    """
    for key, before, now in differences(stored, config.to_dict()):
        raise ConfigError(
            f"--resume: {folder} was begun with {key}={before!r}, now {now!r}; leave the setting out, or start anew "
            "with --overwrite"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, value before, value now) of every setting in which two configurations differ; None where it is not set."""
    found, wanted = _flat(before), _flat(now)
    keys = sorted(found | wanted)
    return [(key, found.get(key), wanted.get(key)) for key in keys if found.get(key) != wanted.get(key)]


def _filled(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`document` with the keys of `defaults` that it lacks, section by section."""
    filled = {**defaults, **document}
    for key, value in document.items():
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping):
            filled[key] = _filled(value, defaults[key])
    return filled


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
