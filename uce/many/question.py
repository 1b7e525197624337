"""What was asked when a folder was begun, and whether the same is asked now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uce.core.config.options import differences
from uce.core.errors import ConfigError

_SHOWN = 8
"""Differences that a message lists."""


def merged(
    stored: Mapping[str, Any], asked: Mapping[str, Any], path: Path, fixed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Stored facts with what is new: a mapping may have more keys now, what both have must agree.

    Args:
        fixed: mappings that may not have more.

    Raises:
        ConfigError: something differs; the first of it is named.
    """
    found: dict[str, Any] = {}
    for key, value in asked.items():
        before = stored.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            changed = [f"{key}.{name}" for name in sorted(before.keys() & value.keys()) if before[name] != value[name]]
            if key in fixed:
                changed += [f"{key}.{name}" for name in sorted(before.keys() ^ value.keys())]
            found[key] = {**before, **value}
        else:
            changed, found[key] = [] if before == value else [key], value
        if changed:
            raise ConfigError(
                f"--resume: {path} was begun with another {changed[0]}; give the same, or begin anew with --overwrite"
            )
    return found


def require_settings(stored: Mapping[str, Any], asked: Mapping[str, Any], path: Path) -> None:
    """Pictures may come and go; the settings stay those that were begun with.

    Raises:
        ConfigError: some differ; they are listed.
    """
    found = differences(stored, asked)
    if found:
        texts = [f"{key}={old!r}, now {new!r}" for key, old, new in found[:_SHOWN]]
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ConfigError(
            f"{path} was begun with other settings: {'; '.join(texts)}{more}; ask for the same, give another folder "
            "with -o, or start anew with --overwrite"
        )
