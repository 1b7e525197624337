"""Which plugin of which distribution made a run folder, and what to say where it is no longer there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from uce.core.errors import PluginError
from uce.core.files.documents import parse_json
from uce.core.flow.configuration import Config
from uce.core.flow.stages import SINGLE_STAGES
from uce.core.hookspecs import STAGE_HOOKS
from uce.core.registry.manager import Manager

Row = Mapping[str, Any]


def plugin_rows(config: Config, manager: Manager) -> list[dict[str, Any]]:
    """Which plugin of which distribution did what, and which wrapped it, for run.json."""
    rows: list[dict[str, Any]] = [
        {"stage": c.stage, "plugin": c.plugin.name, "distribution": c.plugin.distribution, "version": c.plugin.version}
        for c in config.choices
    ]
    for stage in STAGE_HOOKS:
        for info in manager.wrappers(stage):
            row = {"stage": stage, "plugin": info.name, "distribution": info.distribution, "version": info.version}
            rows.append({**row, "wraps": True})
    return rows


def recorded_rows(config_file: str | Path) -> list[Row]:
    """The plugin rows of the run.json beside a config.yaml; none where the file lies elsewhere or is not a run's."""
    try:
        document = parse_json((Path(config_file).parent / "run.json").read_text(encoding="utf-8"))
        rows = document["plugins"]
        return [row for row in rows if {"stage", "plugin", "distribution", "version"} <= row.keys()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def require_makers(
    manager: Manager, config_file: str | Path, document: Row, chosen: Sequence[str], way_out: str
) -> None:
    """Every plugin that made the run is here, unless the configuration or a flag now names another.

    Args:
        manager: the plugins that are here.
        config_file: the run's config.yaml.
        document: what it says.
        chosen: stages for which the user named a plugin just now.
        way_out: what else the user can do, as the end of the sentence; "{stage}" is filled in.

    Raises:
        PluginError: one is missing, or another distribution's stands in its place.
    """
    for row in recorded_rows(config_file):
        stage, name, maker = row["stage"], row["plugin"], f"{row['distribution']} {row['version']}".strip()
        if row.get("wraps"):
            found = next((info for info in manager.wrappers(stage) if info.name == name), None)
            what, further = f"the wrapper {name!r} of the {stage}", ""
        elif stage in chosen or name not in _named(document, stage):
            continue
        else:
            found = manager.available(stage).get(name)
            what, further = f"the {stage} {name!r}", way_out.format(stage=stage)
        if found is not None and found.distribution == row["distribution"]:
            continue
        now = "which is missing here" if found is None else f"whose place {found.distribution} takes here"
        raise PluginError(
            f"{Path(config_file).parent} was made with {what} of {maker}, {now}; {_way_back(manager, row)}{further}"
        )


def _named(document: Row, stage: str) -> list[str]:
    """Names of the plugins that a configuration selects for a stage."""
    body = document.get(stage)
    if stage in SINGLE_STAGES:
        return [str(body.get("plugin")) if isinstance(body, Mapping) else str(body)]
    chain = body.get("chain", []) if isinstance(body, Mapping) else body
    return [chain] if isinstance(chain, str) else [str(name) for name in chain or []]


def _way_back(manager: Manager, row: Row) -> str:
    """How to get the plugin back."""
    distribution, version = str(row["distribution"]), str(row["version"])
    if not version:  # named by --plugin
        return f"give --plugin {distribution} again"
    for failure in manager.failures:
        if failure.distribution == distribution:
            return f"it is installed but could not be loaded ({failure.cause}): mend it"
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return f"install it again (pip install {distribution}=={version}, or the folder that you had it from)"
    return f"{distribution} is installed: leave out the --no-plugin or UCE_DISABLE_PLUGINS that switches it off"
