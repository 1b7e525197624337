"""Variants of a stage: different methods, each under a name and with settings of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from uce.core.errors import ConfigError
from uce.core.files.documents import shown
from uce.core.flow.stages import SINGLE_STAGES

STAGES = (*SINGLE_STAGES, "refiner", "model")


@dataclass(frozen=True)
class Variant:
    """One of them.

    Attributes:
        name: in the tables and of folders.
        plugin: the plugin's, a chain of refiners joined by "+", or the model.
        settings: keys of `--set` -> values.
    """

    name: str
    plugin: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def parse_variants(key: str, bodies: Mapping[str, Any]) -> Iterator[str | Variant]:
    """Name -> a section as in a configuration file; a name alone is a plugin with its own settings.

    Raises:
        ConfigError: `key` has no variants, or a body is no section.
    """
    if key not in STAGES:
        raise ConfigError(f"--vary {key}: only stages and the model have variants with names; give a list of values")
    for name, body in bodies.items():
        if not isinstance(body, Mapping | None) or not str(name).strip():
            raise ConfigError(
                f"--vary {key}: the variant {shown(name)} must be a mapping of settings, such as "
                f"{{plugin: NAME, KEY: VALUE}}, found {shown(body)}"
            )
        rest = dict(body or {})
        which = rest.pop("name" if key == "model" else "plugin", None) or rest.pop("chain", None) or name
        plugin = "+".join(map(str, which)) if isinstance(which, list) else str(which)
        settings = {f"{key}.{setting}": value for setting, value in rest.items()}
        if key == "refiner":
            settings = {f"{k}.{setting}": v for k, own in settings.items() for setting, v in _section(k, own)}
        yield Variant(str(name), plugin, settings) if settings or plugin != name else plugin


def _section(key: str, body: Any) -> list[tuple[str, Any]]:
    if not isinstance(body, Mapping):
        raise ConfigError(f"--vary {key}: a refiner's settings are a mapping, such as {{merge: {{threshold: 2}}}}")
    return list(body.items())
