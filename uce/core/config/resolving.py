"""One resolved, validated configuration from presets, a YAML file, flags and `--set`; later wins.

Keys: ``extractor.K``, ``clusterer.K``, ``refiner.NAME.K``, ``initializer.K``, ``optimizer.K``, ``model.K``, ``run.K``.
In the file, ``plugin`` names a stage's plugin and ``refiner.chain`` the refiners in order. A configuration never
loads code: it can only name plugins that are there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uce.core.config.draft import Draft
from uce.core.config.presets import PRESETS
from uce.core.errors import ConfigError, unknown_name
from uce.core.files.documents import parse_yaml, shown
from uce.core.flow.configuration import Choice, Config
from uce.core.flow.run_settings import ModelSettings, RunSettings
from uce.core.flow.settings import Settings
from uce.core.registry.manager import Manager

SINGLE_STAGES = ("extractor", "clusterer", "initializer", "optimizer")


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`--set optimizer.steps=200` -> (["optimizer", "steps"], 200); the value is read as YAML.

    Raises:
        ConfigError: there is no "=" or no stage in front of the key.
    """
    key, equals, raw = text.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise ConfigError(f"--set {text[:200]}: write stage.key=value, such as optimizer.steps=200")
    try:
        return parts, parse_yaml(raw)
    except ValueError as error:
        raise ConfigError(f"--set {text[:200]}: the value is not readable as YAML ({error}); quote it") from error


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
    known = [*SINGLE_STAGES, "refiner", "model", "run", "preset"]
    # Refiners last: a chain that stands in the same layer outranks the one that its clusterer asks for.
    for section, body in sorted(document.items(), key=lambda item: item[0] == "refiner"):
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
                draft.set_value(section, str(key), value)


def _apply_refiners(draft: Draft, body: Any, origin: str) -> None:
    if isinstance(body, str):
        body = [body]
    if isinstance(body, list):
        body = {"chain": body}
    if not isinstance(body, Mapping):
        raise ConfigError(f"{origin}: refiner must be a list of names, or a mapping with 'chain'")
    if "chain" in body:
        chain = body["chain"]
        if not isinstance(chain, list) or not chain or not all(isinstance(name, str) for name in chain):
            raise ConfigError(f"{origin}: refiner.chain must be a list of refiner names, found {shown(chain)}")
        draft.name_chain(chain)
    for name, values in body.items():
        if name == "chain":
            continue
        if not isinstance(values, Mapping):
            raise ConfigError(f"{origin}: refiner.{name} must be a mapping of keys, found {type(values).__name__}")
        for key, value in values.items():
            draft.set_value(f"refiner.{name}", str(key), value)


def _apply_assignment(draft: Draft, parts: list[str], value: Any) -> None:
    section = parts[0]
    if section == "refiner":
        if len(parts) != 3:
            raise ConfigError(
                f"--set {'.'.join(parts)}: a refiner's key is refiner.NAME.KEY, as refiner.merge.threshold"
            )
        draft.set_value(f"refiner.{parts[1]}", parts[2], value)
        return
    if section not in (*SINGLE_STAGES, "model", "run"):
        raise ConfigError("--set: " + unknown_name("stage", section, [*SINGLE_STAGES, "refiner", "model", "run"]))
    if len(parts) != 2:
        raise ConfigError(f"--set {'.'.join(parts)}: write {section}.KEY=VALUE")
    draft.set_value(section, parts[1], value)


def validate_settings(model: type[Settings], values: Mapping[str, Any], prefix: str) -> Settings:
    """Validated settings; the first thing that is wrong, as one sentence."""
    for key in values:
        if key not in model.model_fields:
            raise ConfigError(unknown_name("key", f"{prefix}.{key}", [f"{prefix}.{k}" for k in model.model_fields]))
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (prefix, *first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: found {shown(first['input'])}, {message[0].lower()}{message[1:]}") from error


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
    refiners: Sequence[str] | None = None,
    values: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> tuple[str, Draft]:
    """The preset's name and what all layers say, not yet validated; each argument outranks those before it.

    Args:
        preset: name of a preset; None: the document's own, else "default".
        document: a configuration in the file's layout.
        plugins: stage -> plugin name, from flags.
        refiners: the chain, from flags.
        values: "section.key" -> value, from flags such as `--seed`.
        assignments: texts of `--set`.

    Raises:
        ConfigError: an unknown preset, section or layout.
    """
    document = document or {}
    name = preset or str(document.get("preset", "default"))
    if name not in PRESETS:
        raise ConfigError(unknown_name("preset", name, PRESETS))
    asked = {info.name: info.refiners for info in manager.available("clusterer").values() if info.refiners}
    draft = Draft(asked)
    _apply_document(draft, PRESETS[name], f"preset {name}")
    _apply_document(draft, document, "config")
    for stage, plugin in (plugins or {}).items():
        if plugin is not None:
            draft.name_plugin(stage, plugin)
    if refiners:
        draft.name_chain(refiners)
    for key, value in (values or {}).items():
        if value is not None:
            section, _, setting = key.partition(".")
            draft.set_value(section, setting, value)
    for text in assignments:
        _apply_assignment(draft, *parse_assignment(text))
    return name, draft


def _finish(manager: Manager, preset: str, draft: Draft) -> Config:
    """Look the plugins up and validate every section."""

    def choose(stage: str, name: str, section: str) -> Choice:
        info = manager.get(stage, name)
        return Choice(stage, info, validate_settings(info.settings_class, draft.values.get(section, {}), section))

    known_refiners = manager.available("refiner")
    for section in draft.values:
        refiner = section.removeprefix("refiner.")
        if section.startswith("refiner.") and refiner not in draft.chain:
            if refiner not in known_refiners:
                raise ConfigError(unknown_name("refiner", refiner, known_refiners))
            raise ConfigError(
                f"{section}: that refiner is not in the chain {'+'.join(draft.chain)}; add --refiner {refiner}"
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
        **choices,
    )
