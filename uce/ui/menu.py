"""Every stage's plugins and settings as form fields, straight from the plugin registry and the pydantic schemas: a
third party's plugin appears by itself.

What names a file of this machine is left out: people at the page must not read the server's files through a setting.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from uce.core.config.draft import Draft
from uce.core.config.presets import PRESETS
from uce.core.config.resolving import draft_config, validate_settings
from uce.core.errors import ConfigError, unknown_name
from uce.core.files.documents import parse_yaml
from uce.core.flow.plugin_info import PluginInfo
from uce.core.flow.run_settings import RunSettings
from uce.core.flow.settings import Settings
from uce.core.flow.stages import LEARNING
from uce.core.hookspecs import STAGE_HOOKS
from uce.core.registry.manager import Manager, load_manager

PRESET_TEXTS = {"default": "default: measured on mini", "paper": "paper: as published, for Stable Diffusion"}
STAGE_TITLES = {
    "extractor": "1. Look: how the model's attention is read",
    "foreground": "1b. Set apart: what stands out from the background",
    "clusterer": "2. Group: which parts belong together",
    "refiner": "3. Clean: what happens to the outlines, in this order",
    "initializer": "4. Begin: what a new word starts from",
    "optimizer": "5. Learn: how the word is learned",
}
RUN_FIELDS = ("seed", "fit", "samples", "sample_steps", "guidance")
"""Settings of the run that people at the page may change; threads and devices belong to who started the server."""


@dataclass(frozen=True)
class FormField:
    """One setting as a form shows it.

    Attributes:
        key: as in `--set`, such as "optimizer.steps".
        kind: "bool", "choice", "number" or "text"; text is read as YAML.
        value: what holds now.
    """

    key: str
    kind: Literal["bool", "choice", "number", "text"]
    label: str
    help: str
    value: Any
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class Section:
    """One selected plugin, or the run (`stage` "run"), with its fields."""

    stage: str
    plugin: str
    summary: str
    fields: tuple[FormField, ...]


@dataclass
class Chosen:
    """What one person has chosen; everything else is the preset's."""

    preset: str = "default"
    plugins: dict[str, str] = field(default_factory=dict)
    refiners: list[str] | None = None
    values: dict[str, Any] = field(default_factory=dict)


def preset_for(model: object) -> str:
    """The preset that a model begins with: the paper's numbers are for Stable Diffusion, the default's for `mini`."""
    return "default" if model in (None, "", "mini") else "paper"


class Menu:
    """What there is to choose from in this server.

    Args:
        fixed: what who started the server decided: model, device, precision, plugin, no_plugin.
    """

    def __init__(self, fixed: Mapping[str, Any] | None = None) -> None:
        self.fixed = {key: value for key, value in (fixed or {}).items() if value}
        self.manager: Manager = load_manager(self.fixed.get("plugin", ()), self.fixed.get("no_plugin", ()))
        self.presets = tuple(sorted(PRESETS, key=lambda name: name != preset_for(self.fixed.get("model"))))

    def begin(self) -> Chosen:
        """What somebody begins with."""
        return Chosen(self.presets[0])

    def offered(self, stage: str) -> dict[str, PluginInfo]:
        """Name -> plugin; those that need files of this machine are left out."""
        return {name: info for name, info in self.manager.available(stage).items() if not _reads_files(info)}

    def sections(self, chosen: Chosen) -> list[Section]:
        """A section for every selected plugin, and one for the run. A plugin whose settings are not complete yet
        (words that must be named, say) is shown with what there is."""
        draft = self._draft(chosen)
        named = [(stage, draft.plugins[stage], stage) for stage in ("extractor", "foreground", "clusterer")]
        named += [("refiner", name, f"refiner.{name}") for name in draft.chain]
        named += [(stage, draft.plugins[stage], stage) for stage in LEARNING]
        found = []
        for stage, name, prefix in named:
            info = self.manager.get(stage, name)
            settings = _settings(info.settings_class, draft.values.get(prefix, {}), prefix)
            found.append(Section(stage, name, info.summary, form_fields(info.settings_class, settings, prefix)))
        run = form_fields(RunSettings, _settings(RunSettings, draft.values.get("run", {}), "run"), "run")
        offered = tuple(field for field in run if field.key.partition(".")[2] in RUN_FIELDS)
        return [*found, Section("run", "", "Chance, and the samples at the end.", offered)]

    def _draft(self, chosen: Chosen) -> Draft:
        return draft_config(
            self.manager,
            preset=chosen.preset,
            plugins=chosen.plugins,
            refiners=chosen.refiners,
            assignments=chosen.values,
        )[1]

    def choose(self, chosen: Chosen, stage: str, name: str | Sequence[str]) -> Chosen:
        """Another plugin for a stage (names for the refiners); values of plugins that are gone are dropped.

        Raises:
            ConfigError: it is not on the menu.
        """
        names = [name] if isinstance(name, str) else list(name)
        for one in names:
            if one not in self.offered(stage):
                raise ConfigError(unknown_name(stage, one, self.offered(stage)))
        if stage == "refiner":
            chain = names or ["none"]
            values = {k: v for k, v in chosen.values.items() if not _of_refiner(k) or k.split(".")[1] in chain}
            return Chosen(chosen.preset, dict(chosen.plugins), chain, values)
        values = {key: value for key, value in chosen.values.items() if not key.startswith(f"{stage}.")}
        return Chosen(chosen.preset, {**chosen.plugins, stage: names[0]}, chosen.refiners, values)

    def change(self, chosen: Chosen, field: FormField, value: Any) -> Chosen:
        """Another value for a setting.

        Raises:
            ConfigError: it is not allowed; `chosen` is still what it was.
        """
        if field.kind == "text":
            try:
                value = parse_yaml(str(value)) if str(value).strip() else None
            except ValueError as error:
                raise ConfigError(f"{field.label}: this cannot be read; write lists as [a, b]") from error
        elif field.kind == "number" and field.whole and isinstance(value, float) and value.is_integer():
            value = int(value)
        new = Chosen(chosen.preset, dict(chosen.plugins), chosen.refiners, {**chosen.values, field.key: value})
        draft, prefix = self._draft(new), field.key.rpartition(".")[0]
        stage = prefix.partition(".")[0]
        name = prefix.partition(".")[2] if stage == "refiner" else draft.plugins.get(stage, "")
        model = RunSettings if stage == "run" else self.manager.get(stage, name).settings_class
        validate_settings(model, draft.values.get(prefix, {}), prefix)
        return new

    def options(self, chosen: Chosen, stages: Sequence[str]) -> dict[str, Any]:
        """Keyword arguments of `uce.localize` (stages `LOCALISING`) and `uce.learn` (`LEARNING`)."""
        picked: dict[str, Any] = {stage: chosen.plugins[stage] for stage in stages if stage in chosen.plugins}
        if "refiner" in stages and chosen.refiners is not None:
            picked["refiner"] = chosen.refiners
        wanted = {k: v for k, v in chosen.values.items() if k.partition(".")[0] in (*stages, "run")}
        fixed = dict(self.fixed)
        if "extractor" in stages:
            picked["preset"] = chosen.preset
        else:  # masks are there already: they keep the model that found them
            fixed.pop("model", None)
        return {**fixed, **picked, "set": wanted}


def _settings(model: type[Settings], values: Mapping[str, Any], prefix: str) -> Settings:
    try:
        return validate_settings(model, values, prefix)
    except ConfigError:
        return model.model_construct(**values)


def form_fields(model: type[Settings], settings: Settings, prefix: str) -> tuple[FormField, ...]:
    """The fields of a settings class, with the values of `settings`; those that name files are left out."""
    return tuple(
        _form_field(f"{prefix}.{name}", info, getattr(settings, name))
        for name, info in model.model_fields.items()
        if not _is_path(info.annotation)
    )


def _form_field(key: str, info: FieldInfo, value: Any) -> FormField:
    name = key.rpartition(".")[2]
    label, text = name.replace("_", " ").capitalize(), info.description or ""
    if info.annotation is bool:
        return FormField(key, "bool", label, text, value)
    if get_origin(info.annotation) is Literal:
        return FormField(key, "choice", label, text, value, choices=get_args(info.annotation))
    if info.annotation in (int, float):
        low, high = _bounds(info)
        return FormField(key, "number", label, text, value, minimum=low, maximum=high, whole=info.annotation is int)
    shown = "" if value is None else value if isinstance(value, str) else _flow(value)
    return FormField(key, "text", label, text, shown)


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    """Inclusive bounds of a number; exclusive ones are checked when the value is set."""
    low = high = None
    for constraint in info.metadata:
        low = getattr(constraint, "ge", None) if low is None else low
        high = getattr(constraint, "le", None) if high is None else high
    return low, high


def _reads_files(info: PluginInfo) -> bool:
    """Whether a plugin works from files that a setting names."""
    return info.settings_class.input_files is not Settings.input_files


def _is_path(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, Path)
    if get_origin(annotation) in (Union, types.UnionType, list, tuple):
        return any(_is_path(part) for part in get_args(annotation))
    return False


def _of_refiner(key: str) -> bool:
    return key.startswith("refiner.")


assert set(STAGE_TITLES) == set(STAGE_HOOKS)
