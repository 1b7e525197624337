"""From what varies to cells: one configuration for every combination, or one change at a time.

Seeds are no change but a repetition: several of them are crossed with every cell in both ways, and pooled in tables.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from uce.ablation.variants import Variant, parse_variants
from uce.core.config.assigned import parse_chain
from uce.core.config.options import Options
from uce.core.config.resolving import load_config_file
from uce.core.errors import ConfigError, UceError, unknown_name
from uce.core.files.documents import parse_yaml
from uce.core.flow.configuration import Config
from uce.core.flow.stages import CHOOSABLE, SINGLE_STAGES
from uce.core.registry.manager import Manager

REPEATS = ("seed", "run.seed")
FLAGS = (*SINGLE_STAGES, "refiner", "model", "preset", "seed")
BASE = "base"
Vary = Sequence[str] | Mapping[str, Sequence[Any] | Mapping[str, Any]]


@dataclass(frozen=True)
class Variation:
    """One key and the values it takes: a stage, a flag of `uce run`, or a key of `--set`."""

    key: str
    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label(value) for value in self.values)

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.labels)}"


@dataclass(frozen=True)
class Cell:
    """One configuration of the grid.

    Attributes:
        name: of its folders: letters, digits, ".", "+", "-" and "_".
        changes: key -> value for what it changes of the base.
    """

    name: str
    changes: Mapping[str, Any]

    @property
    def title(self) -> str:
        return ", ".join(f"{key}={label(value)}" for key, value in self.changes.items()) or BASE

    def options(self, base: Options) -> Options:
        """The base options with this cell's changes, which outrank them."""
        given: dict[str, Any] = {}
        settings: dict[str, Any] = {}
        for key, value in self.changes.items():
            if isinstance(value, Variant):
                settings |= value.settings
                value = value.plugin
            if key == "refiner":
                given[key] = tuple(parse_chain(value, "--vary refiner"))
            elif key in FLAGS:
                given[key] = value
            else:
                settings[key] = value
        given["set"] = {**base.set, **settings}
        return dataclasses.replace(base, **given)


def label(value: Any) -> str:
    """A value as people type it."""
    if isinstance(value, Variant):
        return value.name
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str) else _yaml(value)


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def parse_vary(vary: Vary) -> tuple[Variation, ...]:
    """What varies: key -> values.

    Args:
        vary: texts of `--vary`, each KEY=V1,V2, or KEY={NAME: {...}, ...}, or a YAML file that says the same; or from
            Python a mapping. A chain of refiners is "a+b" or a list of names; variants of a stage are a mapping, name
            -> its section of a configuration, with "plugin" where the name is not the plugin's.

    Raises:
        ConfigError: nothing varies; a key is unknown or given twice; no value, or the same twice.
    """
    if isinstance(vary, Mapping):
        pairs = [(str(key), _listed(str(key), values)) for key, values in vary.items()]
    else:
        pairs = [pair for text in ([vary] if isinstance(vary, str) else vary) for pair in _parse_text(text)]
    if not pairs:
        raise ConfigError("nothing varies; give --vary KEY=VALUE,VALUE, such as --vary clusterer=finch,kmeans")
    found: dict[str, Variation] = {}
    for key, values in pairs:
        _check_key(key)
        if key in found:
            raise ConfigError(f"--vary {key}: given twice; give all its values at once, separated by commas")
        found[key] = Variation(key, tuple(_checked(key, value) for value in values))
        labels = found[key].labels
        twice = [text for text in labels if labels.count(text) > 1]
        if twice:
            raise ConfigError(f"--vary {key}: the value {twice[0]} is given twice; give each once")
    return tuple(found.values())


def _parse_text(text: str) -> list[tuple[str, list[Any]]]:
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals and text.lower().endswith((".yaml", ".yml")):
        try:
            document = load_config_file(text)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--config", "--vary", 1)) from error
        return [(str(name), _listed(str(name), values)) for name, values in document.items()]
    if not equals or not raw.strip():
        raise ConfigError(f"--vary {text}: write KEY=VALUE,VALUE, such as clusterer=finch,kmeans")
    variants = key in FLAGS and raw.lstrip().startswith("{")
    if key in FLAGS and key != "seed" and not variants:
        return [(key, [part.strip() for part in raw.split(",")])]
    try:  # commas within [], {} or quotes belong to a value
        values = parse_yaml(raw if variants else f"[{raw}]")
    except ValueError as error:
        raise ConfigError(f"--vary {text}: the values are not readable as YAML; quote them") from error
    return [(key, _listed(key, values))]


def _listed(key: str, values: Any) -> list[Any]:
    if isinstance(values, Mapping) and values:
        return list(parse_variants(key, values))
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ConfigError(f"vary[{key!r}] must be a list of values, found {values!r}")
    return [str(value) if hasattr(value, "__fspath__") else value for value in values]


def _check_key(key: str) -> None:
    section, dot, _ = key.partition(".")
    if not dot and key not in FLAGS:
        raise ConfigError(f"--vary: {unknown_name('key', key, FLAGS)} A setting's key is STAGE.KEY")
    if dot and section not in CHOOSABLE:
        raise ConfigError(f"--vary {key}: {unknown_name('stage', section, CHOOSABLE)}")


def _checked(key: str, value: Any) -> Any:
    """A value of a flag in its one form: names as text, a chain as "a+b"."""
    if isinstance(value, Variant):
        return value
    if key == "refiner":
        names = parse_chain(value, "--vary refiner")
        return "+" + "+".join(names[1:]) if names[0] == "+" else "+".join(names)
    if key in FLAGS and key != "seed" and (not isinstance(value, str) or not value):
        raise ConfigError(f"--vary {key}: found an empty name or one that is no text ({value!r}); give names")
    return value


def expand(variations: Sequence[Variation], one_at_a_time: bool) -> list[Cell]:
    """Every combination, the last key fastest; or the base and each single change of it, once for every seed."""
    crossed = [item for item in variations if not one_at_a_time or item.key in REPEATS]
    single = [item for item in variations if item not in crossed]
    singles: list[dict[str, Any]] = [{}, *({item.key: value} for item in single for value in item.values)]
    keys = [item.key for item in crossed]
    changes = [
        {**change, **dict(zip(keys, values, strict=True))}
        for change in singles
        for values in itertools.product(*(item.values for item in crossed))
    ]
    names: list[str] = []
    for change in changes:
        stem = _stem(change)
        numbers = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
        names.append(next(name for name in numbers if name.lower() not in {n.lower() for n in names}))
    return [Cell(name, change) for name, change in zip(names, changes, strict=True)]


def _stem(change: Mapping[str, Any]) -> str:
    parts = [re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{key}-{label(value)}").strip("-.") for key, value in change.items()]
    return "_".join(parts)[:100].rstrip("-._") or BASE


def resolve_cells(
    cells: Sequence[Cell],
    base: Options,
    manager: Manager,
    stored: Mapping[str, Mapping[str, Any]] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, Config]:
    """Cell name -> configuration, every one checked before any is run.

    Args:
        stored: cell name -> the configuration it was begun with, where an ablation is resumed.
        origin: the base configuration that cells which are new start from, likewise.

    Raises:
        UceError: of the kind that `uce run` would raise; the text names the cell.
    """
    found = {}
    for cell in cells:
        try:
            found[cell.name] = cell.options(base).resolve(manager, base=(stored or {}).get(cell.name, origin))
        except UceError as error:
            where = f"in the cell {cell.title}: " if cell.changes else ""
            raise type(error)(f"{where}{error}") from error
    return found


def without_repeats(cells: Sequence[Cell], configs: Mapping[str, Config]) -> list[Cell]:
    """The cells, less those whose configuration an earlier one has: a change that names what the base does anyway."""
    kept: list[tuple[Cell, dict[str, Any]]] = []
    for cell in cells:
        document = configs[cell.name].to_dict()
        document["run"]["micro_batch"] = None  # decided as they are run
        if all(document != other for _, other in kept):
            kept.append((cell, document))
    return [cell for cell, _ in kept]


def value_of(config: Config, key: str) -> str:
    """What `config` has for a varied key, as text; "" where its plugins know no such key."""
    document = config.to_dict()
    if key == "refiner":
        return "+".join(document["refiner"]["chain"])
    if key == "preset":
        return str(document["preset"])
    parts = {"model": ["model", "name"], "seed": ["run", "seed"]}.get(key)
    found: Any = document
    for part in parts or ([key, "plugin"] if key in FLAGS else key.split(".")):
        found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            return ""
    return label(found)
