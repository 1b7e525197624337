"""From `--vary KEY=V1,V2` to cells: one configuration for every combination, or one change at a time."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from uce.core.config.options import Options
from uce.core.errors import ConfigError, UceError, unknown_name
from uce.core.flow.configuration import Config
from uce.core.flow.stages import SINGLE_STAGES
from uce.core.registry.manager import Manager

FLAGS = (*SINGLE_STAGES, "refiner", "model", "preset", "seed")
SECTIONS = (*SINGLE_STAGES, "refiner", "model", "run")
BASE = "base"
Vary = Sequence[str] | Mapping[str, Sequence[Any]]


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
            (given if key in FLAGS else settings)[key] = value
        given["set"] = {**base.set, **settings}
        return dataclasses.replace(base, **given)


def label(value: Any) -> str:
    """A value as people type it."""
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str) else _yaml(value)


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def parse_vary(vary: Vary) -> tuple[Variation, ...]:
    """Texts of `--vary`, or key -> values from Python (a refiner chain is "a+b" or a list of names).

    Raises:
        ConfigError: nothing varies; a key is unknown or given twice; no value, or the same twice.
    """
    if isinstance(vary, Mapping):
        pairs = [(str(key), _listed(str(key), values)) for key, values in vary.items()]
    else:
        pairs = [_parse_text(text) for text in ([vary] if isinstance(vary, str) else vary)]
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


def _parse_text(text: str) -> tuple[str, list[Any]]:
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not raw.strip():
        raise ConfigError(f"--vary {text}: write KEY=VALUE,VALUE, such as clusterer=finch,kmeans")
    if key in FLAGS and key != "seed":
        return key, [part.strip() for part in raw.split(",")]
    try:
        return key, yaml.safe_load(f"[{raw}]")  # commas within [], {} or quotes belong to a value
    except yaml.YAMLError as error:
        raise ConfigError(f"--vary {text}: the values are not readable as YAML; quote them") from error


def _listed(key: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ConfigError(f"vary[{key!r}] must be a list of values, found {values!r}")
    return [str(value) if hasattr(value, "__fspath__") else value for value in values]


def _check_key(key: str) -> None:
    section, dot, _ = key.partition(".")
    if not dot and key not in FLAGS:
        raise ConfigError(f"--vary: {unknown_name('key', key, FLAGS)} A setting's key is STAGE.KEY")
    if dot and section not in SECTIONS:
        raise ConfigError(f"--vary {key}: {unknown_name('stage', section, SECTIONS)}")


def _checked(key: str, value: Any) -> Any:
    """A value of a flag in its one form: names as text, a chain as "a+b"."""
    if key == "refiner" and isinstance(value, Sequence) and not isinstance(value, str):
        value = "+".join(map(str, value))
    if key in FLAGS and key != "seed" and (not isinstance(value, str) or not all(value.split("+"))):
        raise ConfigError(f"--vary {key}: found an empty name or one that is no text ({value!r}); give names")
    return value


def expand(variations: Sequence[Variation], one_at_a_time: bool) -> list[Cell]:
    """Every combination, the last key fastest; or the base and each single change of it."""
    changes: list[dict[str, Any]]
    if one_at_a_time:
        changes = [{}, *({item.key: value} for item in variations for value in item.values)]
    else:
        keys = [item.key for item in variations]
        changes = [
            dict(zip(keys, values, strict=True)) for values in itertools.product(*(v.values for v in variations))
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
    cells: Sequence[Cell], base: Options, manager: Manager, stored: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Config]:
    """Cell name -> configuration, every one checked before any is run.

    Args:
        stored: cell name -> the configuration it was begun with, where an ablation is resumed.

    Raises:
        UceError: of the kind that `uce run` would raise; the text names the cell.
    """
    found = {}
    for cell in cells:
        try:
            found[cell.name] = cell.options(base).resolve(manager, base=(stored or {}).get(cell.name))
        except UceError as error:
            where = f"in the cell {cell.title}: " if cell.changes else ""
            raise type(error)(f"{where}{error}") from error
    return found


def without_repeats(cells: Sequence[Cell], configs: Mapping[str, Config]) -> list[Cell]:
    """The cells, less those whose configuration an earlier one has: a change that names what the base does anyway."""
    kept: list[Cell] = []
    for cell in cells:
        if all(configs[cell.name].to_dict() != configs[other.name].to_dict() for other in kept):
            kept.append(cell)
    return kept


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
