"""From options to a pipeline that is ready to work: plugins, configuration, model and picture, in that order.

Whatever can be refused without loading a model is refused first; nothing is written before all of it is sound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.core.config.devices import resolve_run
from uce.core.config.provenance import require_makers
from uce.core.config.resolving import load_config_file, resolve_config
from uce.core.errors import ConfigError, UceError
from uce.core.flow.configuration import Config
from uce.core.registry.manager import Manager, load_manager


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

    def manager(self) -> Manager:
        """A fresh plugin manager with the observers registered."""
        manager = load_manager(self.plugin, self.no_plugin)
        for observer in self.observers:
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
