"""One resolved, validated configuration from presets, a YAML file, flags and `--set`; later wins.

Keys: ``extractor.K``, ``foreground.K``, ``clusterer.K``, ``refiner.NAME.K``, ``initializer.K``,
``optimizer.K``, ``model.K``, ``run.K``.
In the file, ``plugin`` names a stage's plugin and ``refiner.chain`` the refiners in order. A configuration never
loads code: it can only name plugins that are there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uce.core.config.assigned import Assignments, parse_chain, plain, read_settings
from uce.core.config.draft import Draft
from uce.core.config.presets import PRESETS
from uce.core.errors import ConfigError, PluginError, unknown_name
from uce.core.files.documents import parse_yaml, shown
from uce.core.flow.configuration import Choice, Config
from uce.core.flow.plugin_info import PluginInfo
from uce.core.flow.run_settings import ModelSettings, RunSettings
from uce.core.flow.settings import Settings
from uce.core.flow.stages import CHOOSABLE, SINGLE_STAGES
from uce.core.registry.manager import Manager

AFTER_CLUSTERER = ("foreground", "refiner")
"""What a clusterer may ask for; named in the same layer, they outrank it."""


def load_config_file(path: str | Path) -> dict[str, Any]:
    """Read a YAML configuration.

    Raises:
        ConfigError: missing, unreadable, not YAML, or not a mapping.
    """
    try:
        document = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror or error}; give a YAML file") from error
    except ValueError as error:
        raise ConfigError(f"--config {path}: not readable as YAML ({' '.join(str(error).split())[:160]})") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"--config {path}: must be a mapping of stages, found {type(document).__name__}")
    return document


def _apply_document(draft: Draft, document: Mapping[str, Any], origin: str) -> None:
    """One layer in the file's layout."""
    known = [*CHOOSABLE, "preset"]
    for section, body in sorted(document.items(), key=lambda item: item[0] in AFTER_CLUSTERER):
        if section not in known:
            raise ConfigError(f"{origin}: " + unknown_name("key", str(section), known))
        if section == "preset":
            continue
        if section == "refiner":
            _apply_refiners(draft, body, origin)
            continue
        if section in SINGLE_STAGES and isinstance(body, str):
            body = {"plugin": body}
        if section == "model" and isinstance(body, str):
            body = {"name": body}
        if not isinstance(body, Mapping):
            raise ConfigError(f"{origin}: {section} must be a mapping of keys, found {type(body).__name__}")
        if section in SINGLE_STAGES and "plugin" in body:
            draft.name_plugin(section, str(body["plugin"]))
        for key, value in body.items():
            if not (section in SINGLE_STAGES and key == "plugin"):
                draft.set_value(section, str(key), plain(value))


def _apply_refiners(draft: Draft, body: Any, origin: str) -> None:
    if isinstance(body, str | list | tuple):
        body = {"chain": body}
    if not isinstance(body, Mapping):
        raise ConfigError(f"{origin}: refiner must be a list of names, or a mapping with 'chain'")
    if "chain" in body:
        draft.name_chain(parse_chain(body["chain"], f"{origin}: refiner.chain"))
    for name, values in body.items():
        if name == "chain":
            continue
        if not isinstance(values, Mapping):
            raise ConfigError(f"{origin}: refiner.{name} must be a mapping of keys, found {type(values).__name__}")
        for key, value in values.items():
            draft.set_value(f"refiner.{name}", str(key), plain(value))


def _apply_setting(draft: Draft, path: str, value: Any) -> None:
    section, *parts = path.split(".")
    if section == "refiner":
        if len(parts) != 2:
            raise ConfigError(f"--set {path}: a refiner's key is refiner.NAME.KEY, as refiner.merge.threshold")
        draft.set_value(f"refiner.{parts[0]}", parts[1], value)
        return
    if section not in CHOOSABLE:
        raise ConfigError("--set: " + unknown_name("stage", section, CHOOSABLE))
    if len(parts) != 1:
        raise ConfigError(f"--set {path}: write {section}.KEY=VALUE")
    draft.set_value(section, parts[0], value)


def validate_settings(
    model: type[Settings], values: Mapping[str, Any], prefix: str, owner: PluginInfo | None = None
) -> Settings:
    """Validated settings; the first thing that is wrong, as one sentence.

    Args:
        owner: the plugin whose `Settings` they are.

    Raises:
        ConfigError: an unknown key, or a value that is not allowed.
        PluginError: a default of the plugin's own that its settings do not allow.
    """
    for key in values:
        if key not in model.model_fields:
            raise ConfigError(unknown_name("key", f"{prefix}.{key}", [f"{prefix}.{k}" for k in model.model_fields]))
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (prefix, *first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        found = f"{where}: found {shown(first['input'])}, {message[0].lower()}{message[1:]}"
        given = first["loc"][0] in values if first["loc"] else bool(values)
        if owner is not None and not given and first["type"] != "missing":
            raise PluginError(
                f"the plugin {owner} has a default that its own settings do not allow: {found}; mend it there, or "
                f"give {where}"
            ) from error
        raise ConfigError(found) from error


def is_complete(document: Mapping[str, Any]) -> bool:
    """Whether a configuration says everything, as the config.yaml of a run does: then no preset stands below it."""
    run, refiner = document.get("run"), document.get("refiner")
    return (
        all(
            isinstance(document.get(stage), Mapping) and "plugin" in document[stage]
            for stage in SINGLE_STAGES
            if stage != "foreground" or stage in document  # runs of before that step have none
        )
        and (isinstance(refiner, Mapping) and "chain" in refiner)
        and (isinstance(run, Mapping) and {"device", "precision", "threads"} <= run.keys())
        and "preset" in document
    )


def resolve_config(manager: Manager, **layers: Any) -> Config:
    """Resolve a configuration from the layers that `draft_config` describes.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
        PluginError: an unknown plugin, or one that could not be loaded.
    """
    return _finish(manager, *draft_config(manager, **layers))


def draft_config(
    manager: Manager,
    *,
    preset: str | None = None,
    document: Mapping[str, Any] | None = None,
    plugins: Mapping[str, str | None] | None = None,
    refiners: str | Iterable[str] | None = None,
    values: Mapping[str, Any] | None = None,
    assignments: Assignments = (),
) -> tuple[str, Draft]:
    """The preset's name and what all layers say, not yet validated; each argument outranks those before it.

    Args:
        preset: name of a preset; None: the document's own, else "default".
        document: a configuration in the file's layout.
        plugins: stage -> plugin name, from flags.
        refiners: the chain, from flags, as `parse_chain` reads it.
        values: "section.key" -> value, from flags such as `--seed`.
        assignments: what `--set` or `set` gives, as `read_settings` reads it.

    Raises:
        ConfigError: an unknown preset, section or layout.
    """
    document = document or {}
    name = preset or str(document.get("preset", "default"))
    if name not in PRESETS:
        raise ConfigError(unknown_name("preset", name, PRESETS))
    if is_complete(document):
        document = {"foreground": {"plugin": "none"}, **document}
    clusterers = manager.available("clusterer").values()
    draft = Draft(
        asked={info.name: info.refiners for info in clusterers if info.refiners},
        foregrounds={info.name: info.foreground for info in clusterers if info.foreground},
    )
    if not is_complete(document):
        _apply_document(draft, PRESETS[name], f"preset {name}")
    _apply_document(draft, document, "config")
    for stage, plugin in sorted((plugins or {}).items(), key=lambda item: item[0] in AFTER_CLUSTERER):
        if plugin is not None:
            draft.name_plugin(stage, plugin)
    if refiners:
        draft.name_chain(parse_chain(refiners))
    for key, value in (values or {}).items():
        if value is not None:
            section, _, setting = key.partition(".")
            draft.set_value(section, setting, plain(value))
    for key, value in read_settings(assignments).items():
        _apply_setting(draft, key, value)
    return name, draft


def _finish(manager: Manager, preset: str, draft: Draft) -> Config:
    """Look the plugins up and validate every section."""

    def choose(stage: str, name: str, section: str) -> Choice:
        info = manager.get(stage, name)
        values = draft.values.get(section, {})
        return Choice(stage, info, validate_settings(info.settings_class, values, section, info))

    known_refiners = manager.available("refiner")
    for section in draft.values:
        refiner = section.removeprefix("refiner.")
        if section.startswith("refiner.") and refiner not in draft.chain:
            if refiner not in known_refiners:
                raise ConfigError(unknown_name("refiner", refiner, known_refiners))
            raise ConfigError(
                f"{section}: that refiner is not in the chain {'+'.join(draft.chain)}; add --refiner +{refiner}"
            )
    choices = {stage: choose(stage, draft.plugins[stage], stage) for stage in SINGLE_STAGES}
    model = validate_settings(ModelSettings, draft.values.get("model", {}), "model")
    run = validate_settings(RunSettings, draft.values.get("run", {}), "run")
    assert isinstance(model, ModelSettings) and isinstance(run, RunSettings)
    return Config(
        preset=preset,
        model=model,
        run=run,
        refiners=tuple(choose("refiner", n, f"refiner.{n}") for n in draft.chain),
        note=draft.note(),
        **choices,
    )
