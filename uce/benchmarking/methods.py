"""Methods that a benchmark compares: each a name and a configuration, in the words of the YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uce.core.config.assigned import parse_assignment, parse_chain
from uce.core.config.presets import PRESETS
from uce.core.config.resolving import load_config_file
from uce.core.errors import ConfigError, unknown_name
from uce.core.flow.stages import SINGLE_STAGES

KEYS = (*SINGLE_STAGES, "refiner", "model", "run", "preset")

TABLE: dict[str, dict[str, Any]] = {
    **{name: {"preset": name} for name in PRESETS},
    "lower-bound": {"tokens-of": "another-picture"},
    "random-masks": {"clusterer": "random-masks", "refiner": ["none"]},
    "diffseg": {"clusterer": "diffseg"},
    "textual-inversion": {"optimizer": "textual-inversion"},
    "whole-picture": {"optimizer": {"plugin": "textual-inversion", "source": "picture"}},
    "break-a-scene": {"optimizer": "break-a-scene"},
}
"""Methods known by name. Those whose plugin is not installed say so when they are asked for."""

EVERY = "all"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


@dataclass(frozen=True)
class Method:
    """One configuration.

    Attributes:
        document: in the layout of the YAML file; on top of the preset `default` where it names none.
        base: the method whose runs are measured, with pictures drawn from another picture's tokens (the lower
            bound); None for a method with runs of its own.
    """

    name: str
    document: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None


def parse_methods(texts: Sequence[str], file: str | Path | None = None) -> list[Method]:
    """Methods in the order given.

    Args:
        texts: "all" for every method of the table and of the file, "NAME" of one of them, or
            "NAME=KEY=VALUE,KEY=VALUE" with KEY a stage ("optimizer"), a setting ("optimizer.steps") or "preset"; a
            chain of refiners is joined by "+".
        file: YAML, method name -> configuration; a name of the table replaces it there. Without `texts` all of its
            methods are meant.

    Raises:
        ConfigError: an unknown name or key, a name given twice, or a file that is not readable.
    """
    table: dict[str, Any] = {**TABLE, **(_read_file(file) if file is not None else {})}
    if not texts and file is not None:
        texts = list(_read_file(file))
    methods: list[Method] = []
    for text in (word for given in texts for word in given.split()):
        name, equals, body = text.partition("=")
        if text == EVERY and text not in table:
            for known in table:
                methods.append(_method(known, table[known], [m.name for m in methods]))
        elif equals:
            methods.append(_method(name, _document(text, body), [m.name for m in methods]))
        elif name in table:
            methods.append(_method(name, table[name], [m.name for m in methods]))
        else:
            raise ConfigError(
                f"--methods: {unknown_name('method', name, table)} A new one is NAME=KEY=VALUE,..., such as "
                "mine=optimizer.steps=50; a folder of pictures is given with --pictures."
            )
    for number, method in enumerate(methods):
        names = [m.name for m in methods]
        if names.index(method.name) != number:
            raise ConfigError(f"--methods: {method.name!r} is given twice; name each method once")
        bases = [m.name for m in methods if m.base is None]
        if method.base is not None and method.base not in bases:
            raise ConfigError(
                f"--methods: {method.name} shows another picture's tokens of {method.base!r}, which is not among the "
                f"methods; add it, or put {method.name} behind another method"
            )
    if not methods:
        raise ConfigError(f"--methods names no method; available: {EVERY}, {', '.join(sorted(table))}")
    return methods


def _method(name: str, body: Mapping[str, Any], earlier: Sequence[str]) -> Method:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--methods: the name {name!r} is not allowed; use small letters, digits, '-', '_' and '.'")
    document = dict(body)
    tokens = document.pop("tokens-of", None)
    if tokens is None:
        return Method(name, document)
    if tokens != "another-picture":
        raise ConfigError(f"--methods: {name}: tokens-of may be another-picture, found {tokens!r}")
    return Method(name, {}, str(document.get("base") or (earlier[0] if earlier else "default")))


def _document(text: str, body: str) -> dict[str, Any]:
    """ "optimizer=break-a-scene,optimizer.steps=50" -> a configuration document."""
    document: dict[str, Any] = {}
    for pair in body.split(","):
        key, equals, value = pair.partition("=")
        parts = key.strip().split(".")
        if not equals or parts[0] not in (*KEYS, "tokens-of", "base"):
            hint = "" if equals else f"; found {pair!r} without '='"
            raise ConfigError(
                f"--methods {text}: {unknown_name('key', parts[0], KEYS)}{hint} Write KEY=VALUE,KEY=VALUE."
            )
        if len(parts) > 1:
            place = _section(document, parts[:-1])
            place[parts[-1]] = parse_assignment(pair)[1]
        elif parts[0] == "refiner":
            _section(document, ["refiner"])["chain"] = parse_chain(value, f"--methods {text}: refiner")
        elif parts[0] in ("preset", "tokens-of", "base"):
            document[parts[0]] = value
        else:
            _section(document, parts)["name" if parts[0] == "model" else "plugin"] = value
    return document


def _section(document: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    for part in path:
        document = document.setdefault(part, {})
    return document


def _read_file(file: str | Path) -> dict[str, Any]:
    try:
        document = load_config_file(file)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--config", "--methods-file", 1)) from error
    for name, body in document.items():
        if not isinstance(body, Mapping):
            raise ConfigError(f"--methods-file {file}: {name} must be a configuration, found {type(body).__name__}")
        for key in body:
            if key not in (*KEYS, "tokens-of", "base"):
                raise ConfigError(f"--methods-file {file}: {name}: {unknown_name('key', str(key), KEYS)}")
    return {str(name): body for name, body in document.items()}
