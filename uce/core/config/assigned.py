"""Settings as people give them, made alike once, at the door: "section.key" -> plain value, in the order given.

Texts of `--set`, mappings (flat, nested or mixed), pairs, and the values that Python code has at hand (numpy and torch
numbers, paths, tuples, enums) all become the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from os import PathLike, fspath
from typing import Any

from uce.core.errors import ConfigError
from uce.core.files.documents import parse_yaml, shown

Assignments = str | Mapping[str, Any] | Iterable[str | tuple[str, Any]]
"""What `set` takes: texts "optimizer.steps=200", {"optimizer.steps": 200}, {"optimizer": {"steps": 200}}, or pairs."""

_NAMED = ("refiner", "encoder")
"""Sections with several plugins at once: their keys are SECTION.NAME.KEY."""
_HOW = "write stage.key=value, such as optimizer.steps=200"


def read_settings(given: Assignments | None) -> dict[str, Any]:
    """Flat settings of plain values; what is given later wins and stands later.

    Raises:
        ConfigError: a text without "=", a key without a section, or something that is neither text, pair nor mapping.
    """
    found: dict[str, Any] = {}
    for key, value in _pairs(given):
        found.pop(key, None)
        found[key] = value
    return found


def section_of(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What belongs to sections `names`, with whole keys."""
    return {key: value for key, value in settings.items() if key.partition(".")[0] in names}


def without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What belongs to other sections."""
    return {key: value for key, value in settings.items() if key.partition(".")[0] not in names}


def keys_of(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """What belongs to a section, by the rest of its key: {"executor.workers": 2} -> {"workers": 2}."""
    return {key.partition(".")[2]: value for key, value in section_of(settings, section).items()}


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`optimizer.steps=200` -> (["optimizer", "steps"], 200); the value is read as YAML.

    Raises:
        ConfigError: there is no "=" or no stage in front of the key.
    """
    key, equals, raw = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text[:200]}: {_HOW}")
    parts = _parts(key, text)
    try:
        return parts, parse_yaml(raw)
    except ValueError as error:
        raise ConfigError(f"--set {text[:200]}: the value is not readable as YAML ({error}); quote it") from error


def parse_chain(given: str | Iterable[str], where: str = "--refiner") -> list[str]:
    """Refiners in order, from "a+b", ["a", "b"], or a mixture; a "+" in front appends to the chain that is there.

    Returns:
        the names; the first is "+" where they are to be appended.

    Raises:
        ConfigError: no name, an empty one, or something that is no text.
    """
    items: list[Any] = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    names: list[str] = []
    for number, item in enumerate(items):
        if not isinstance(item, str):
            raise ConfigError(f"{where} must be a list of refiner names, found {shown(item)} in it; give names")
        text = item.strip()
        if number == 0 and text.startswith("+"):
            names.append("+")
        text = text.removeprefix("+")
        if text or number or not item.strip():  # a "+" alone stands in front
            names += [part.strip() for part in text.split("+")]
    if not all(names) or names in ([], ["+"]):
        raise ConfigError(
            f"{where} must be a list of refiner names, found {shown(given)}; write saliency+merge, or +edges to append"
        )
    return names


def plain(value: Any) -> Any:
    """A value as YAML and JSON know it: numbers of numpy and torch, paths, enums, tuples and sets become plain ones;
    what is unknown stays, for whoever validates it."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(one) for one in value), key=repr)
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # numpy scalars and arrays, torch tensors
        return value.tolist()
    return value


def _pairs(given: Assignments | None) -> Iterator[tuple[str, Any]]:
    if given is None:
        return
    if isinstance(given, Mapping):
        yield from _flat(given)
        return
    if isinstance(given, str):
        given = (given,)
    if not isinstance(given, Iterable):
        raise ConfigError(f"set: found {shown(given)}; give texts such as 'optimizer.steps=200', or a mapping")
    for item in given:
        if isinstance(item, str):
            parts, value = parse_assignment(item)
            yield ".".join(parts), value
        elif isinstance(item, Mapping):
            yield from _flat(item)
        elif isinstance(item, tuple) and len(item) == 2:
            yield from _flat({item[0]: item[1]})
        else:
            raise ConfigError(f"set: found {shown(item)}; {_HOW}")


def _flat(given: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A mapping is a section as long as a key in it is not complete; from there on it is a value."""
    for key, value in given.items():
        path = f"{prefix}{key}"
        needed = 3 if path.partition(".")[0] in _NAMED else 2
        if isinstance(value, Mapping) and path.count(".") + 1 < needed:
            yield from _flat(value, f"{path}.")
        else:
            yield ".".join(_parts(path, f"{path}={shown(value)}")), plain(value)


def _parts(key: str, text: str) -> list[str]:
    parts = [part.strip() for part in key.strip().split(".")]
    if len(parts) < 2 or not all(parts):
        raise ConfigError(f"--set {text[:200]}: {_HOW}")
    return parts
