"""From options to a pipeline that is ready to work: plugins, configuration, model and picture, in that order.

Whatever can be refused without loading a model is refused first; nothing is written before all of it is sound.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from uce.core.config.assigned import parse_chain, plain, read_settings
from uce.core.config.devices import resolve_run
from uce.core.config.provenance import require_makers
from uce.core.config.resolving import load_config_file, resolve_config
from uce.core.errors import ConfigError, UceError, unknown_name
from uce.core.files.documents import shown
from uce.core.flow.configuration import Config
from uce.core.flow.run_settings import RunSettings
from uce.core.flow.stages import SINGLE_STAGES, STAGES
from uce.core.model.backbone import Backbone
from uce.core.registry.manager import Manager, load_manager

log = logging.getLogger(__name__)

_TEXTS = (*SINGLE_STAGES, "preset", "device", "precision")


@dataclass(frozen=True)
class Options:
    """What the command line and the Python functions accept alike; None leaves the choice to the configuration.

    This is the door: whatever form things are given in (`uce.core.config.keywords.RunOptions` says which), here they
    have one.

    Attributes:
        refiner: the chain; a "+" in front appends to the one that is there.
        set: "section.key" -> plain value.
        backbone: a model that is loaded already; `model` is its name.

    Raises:
        ConfigError: something of a kind that it cannot be, such as a clusterer that is a number.
    """

    model: str | None = None
    extractor: str | None = None
    foreground: str | None = None
    clusterer: str | None = None
    refiner: tuple[str, ...] | None = None
    initializer: str | None = None
    optimizer: str | None = None
    set: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: Path | None = None
    preset: str | None = None
    seed: int | None = None
    concepts: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None
    device: str | None = None
    precision: str | None = None
    plugin: Sequence[str] = ()
    no_plugin: Sequence[str] = ()
    observers: Sequence[Any] = ()
    backbone: Backbone | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From keyword arguments as people give them.

        Raises:
            ConfigError: an unknown one, or one of a wrong kind.
        """
        known = [field.name for field in dataclasses.fields(cls) if field.name != "backbone"]
        for name in given:
            if name not in known:
                raise ConfigError(unknown_name("option", str(name), known))
        return cls(**given)

    def __post_init__(self) -> None:
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        given |= _model(given["model"], given["device"], given["precision"], given["backbone"])
        for name in _TEXTS:
            if given[name] is not None and not isinstance(given[name], str):
                hint = "; see uce plugins" if name in SINGLE_STAGES else ""
                raise ConfigError(f"{name} must be a name, found {shown(given[name])}{hint}")
        given["refiner"] = tuple(parse_chain(given["refiner"])) if _is_given(given["refiner"]) else None
        given["set"] = read_settings(given["set"])
        given["config"] = None if given["config"] is None else Path(given["config"])
        given["seed"] = plain(given["seed"])
        given["concepts"] = _several(given["concepts"], "concepts", int)
        given["names"] = _several(given["names"], "names", str)
        for name in ("plugin", "no_plugin"):
            given[name] = _several(given[name], name, str) or ()
        given["observers"] = tuple(given["observers"] or ())
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def manager(self) -> Manager:
        """A fresh plugin manager with the observers registered.

        Raises:
            PluginError: a plugin cannot be loaded, or an observer has no hook that observers may have.
        """
        manager = load_manager(self.plugin, self.no_plugin)
        for observer in self.observers:
            manager.observe(observer)
        if self.backbone is not None:
            manager.offer(self.backbone)
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
        config = resolve_config(
            manager,
            preset=self.preset,
            document=document,
            plugins={stage: getattr(self, stage) for stage in SINGLE_STAGES},
            refiners=self.refiner,
            values={
                "model.name": self.model,
                "run.seed": self.seed,
                "run.concepts": self.concepts,
                "run.names": self.names,
                "run.device": self.device,
                "run.precision": self.precision,
            },
            assignments=self.set,
        )
        if config.note:
            log.info("%s", config.note)
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
        chosen = [stage for stage in STAGES if getattr(self, stage) and "+" not in getattr(self, stage)]
        if self.config is not None:
            require_makers(manager, self.config, document, chosen, ", or choose another with --{stage}")
        elif origin is not None:
            require_makers(manager, origin, document, chosen, ", or run the picture again with --overwrite")


def _model(model: Any, device: str | None, precision: str | None, backbone: Backbone | None) -> dict[str, Any]:
    """The model's name; a loaded one brings its device and precision."""
    if model is None or isinstance(model, str | Path):
        return {"model": None if model is None else str(model)}
    if not isinstance(getattr(model, "fingerprint", None), str):
        raise ConfigError(f"model must be a name, a path or a loaded backbone, found {shown(model)}")
    for name, asked in (("device", device), ("precision", precision)):
        if asked not in (None, "auto", getattr(model, name)):
            raise ConfigError(f"{name} is {asked!r}, but the given model is loaded with {getattr(model, name)!r}; "
                              "leave it out, or give the model's name")  # fmt: skip
    return {"model": model.model, "backbone": model, "device": model.device, "precision": model.precision}


def _is_given(chain: Any) -> bool:
    return chain is not None and not (isinstance(chain, str | list | tuple) and len(chain) == 0)


def _several(given: Any, name: str, kind: type) -> tuple[Any, ...] | None:
    """One or several."""
    if given is None:
        return None
    if name == "names" and isinstance(given, str):
        given = [part.strip() for part in given.split(",")]
    items = plain([given] if isinstance(given, str | Path | int) else list(given) if _iterable(given) else [given])
    for item in items:
        if not isinstance(item, kind) or isinstance(item, bool):
            what = "whole numbers" if kind is int else "texts"
            raise ConfigError(f"{name} must be {what}, found {shown(item)}")
    return tuple(items)


def _iterable(given: Any) -> bool:
    return hasattr(given, "__iter__") and not isinstance(given, bytes)


def usual_samples(run: RunSettings, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Steps and guidance of the samples as the model is made for, where nobody set them."""
    names = {"sample_steps": "steps", "guidance": "guidance"}
    return {key: usual[name] for key, name in names.items() if name in usual and key not in run.model_fields_set}


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
