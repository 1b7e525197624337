"""What the rows of a table are: cells that only the seed tells apart together, each with all that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from uce.ablation.grid import FLAGS, REPEATS, Cell, label, value_of
from uce.core.flow.configuration import Config

_TOLD_OTHERWISE = (*REPEATS, "model.name", "run.micro_batch", "run.device")


def make_rows(cells: Sequence[Cell], configs: Mapping[str, Config], varied: Sequence[str]) -> list[dict[str, Any]]:
    """One row per configuration: "cell" (its first), "cells", "title", "values" of the varied keys, "settings" (every
    other one that differs between the rows)."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        own = {key: label(value) for key, value in cell.changes.items() if key not in REPEATS}
        groups.setdefault(tuple(f"{key}={text}" for key, text in own.items()), []).append(cell)
    keys = [key for key in varied if key not in REPEATS]
    differing = _differing([configs[group[0].name] for group in groups.values()], keys)
    rows = []
    for (title, group), told in zip(groups.items(), differing, strict=True):
        cell, config = group[0], configs[group[0].name]
        has = {key: value_of(config, key) for key in keys}
        values = {key: label(cell.changes[key]) if key in cell.changes else has[key] for key in keys}
        plugins = [has[key] for key in keys if key in FLAGS and has[key] not in ("", values[key])]
        rows.append(
            {
                "cell": cell.name,
                "cells": [one.name for one in group],
                "title": ", ".join(title) or "base",
                "values": values,
                "settings": ", ".join([*plugins, *told]),
            }
        )
    return rows


def _differing(configs: Sequence[Config], varied: Sequence[str]) -> Iterator[list[str]]:
    """Per configuration its settings that another one has otherwise; of a plugin that not all have, those that are not
    its own defaults."""
    sections = [_sections(config) for config in configs]
    for mine in sections:
        told = []
        for place, settings in mine.items():
            holders = [theirs[place] for theirs in sections if place in theirs]
            for key, (value, default) in settings.items():
                differs = any(theirs[key][0] != value for theirs in holders)
                unusual = len(holders) < len(sections) and value != default
                name = f"{place[0]}.{key}"
                if (differs or unusual) and name not in varied and name not in _TOLD_OTHERWISE:
                    short = key if place[0] in varied else name.removeprefix("refiner.")
                    told.append(f"{short}={label(value)}")
        yield told


def _sections(config: Config) -> dict[tuple[str, str], dict[str, tuple[Any, Any]]]:
    """(section, plugin) -> key -> (value, default)."""
    parts: list[tuple[str, str, Any]] = [("model", "", config.model), ("run", "", config.run)]
    for choice in config.choices:
        name = choice.plugin.name
        parts.append((f"refiner.{name}" if choice.stage == "refiner" else choice.stage, name, choice.settings))
    found = {}
    for section, plugin, settings in parts:
        fields = type(settings).model_fields
        own = {key: fields[key].get_default(call_default_factory=True) for key in fields}
        found[section, plugin] = {key: (v, own.get(key)) for key, v in settings.model_dump(mode="json").items()}
    return found
