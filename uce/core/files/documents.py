"""JSON and YAML from files that nobody vouches for: whatever is wrong with them is a ValueError, and soon."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from typing import Any

import yaml

MAX_CHARACTERS = 1 << 20
"""Of a YAML document; its reader takes seconds for more."""
MAX_DEPTH = 100
"""Brackets within brackets."""
MAX_VALUES = 20_000
"""Values of a YAML document, each alias counted as often as it is used: thirty lines of aliases can stand for 2^30."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str) -> Any:
    """As `yaml.safe_load`, which runs nothing.

    Raises:
        ValueError: not YAML, too long, nested too deeply, or with aliases that stand for too much.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, at most {MAX_CHARACTERS} are read")
    if _depth(text) > MAX_DEPTH:  # the reader takes time with the square of it
        raise ValueError("it is nested too deeply")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:160]) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # such as 2001-99-99
        raise ValueError(f"a value of it is none: {' '.join(str(error).split())[:120]}") from error
    _bounded(document)
    return document


def _depth(text: str) -> int:
    """Open brackets at once, those in quoted text included."""
    depth = deepest = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth = max(0, depth - 1)
    return deepest


def _bounded(document: Any) -> None:
    waiting, seen = [document], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise ValueError(f"it stands for more than {MAX_VALUES} values, or holds itself")
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif isinstance(value, int) and abs(value).bit_length() > 10_000:
            raise ValueError("a number of it has thousands of digits")


def shown(value: Any) -> str:
    """A value as a message shows it: short, whatever it is."""
    try:
        return _short.repr(value)
    except Exception:  # an int of thousands of digits, a stranger's __repr__
        return f"a {type(value).__name__}"


def is_number(value: Any) -> bool:
    """A finite int or float; no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
