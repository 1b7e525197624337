"""Plugins in a terminal: all of them, one of them, a new package for one."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from uce.core.hookspecs import SELECTED_HOOKS
from uce.version import PLUGIN_API

if TYPE_CHECKING:
    from uce.core.flow.plugin_info import PluginInfo
    from uce.scaffold import NewPackage


def _stage_names(info: PluginInfo) -> str:
    wraps = [f"wraps {stage}" for stage in info.wraps]
    return ", ".join([*info.stages, *wraps]) or "observer"


def plugin_record(info: PluginInfo) -> dict[str, Any]:
    """One plugin as JSON."""
    return {
        "name": info.name,
        "stages": list(info.stages),
        "wraps": list(info.wraps),
        "observes": list(info.observes),
        "distribution": info.distribution,
        "version": info.version,
        "origin": info.origin,
        "replaces": list(info.replaces),
        "summary": info.summary,
    }


def show_plugins(plugins: Sequence[str], no_plugins: Sequence[str], as_json: bool) -> None:
    """Every plugin, those replaced and those that failed to load."""
    from uce.core.registry.manager import load_manager

    manager = load_manager(plugins, no_plugins)
    replaced = {(stage, info.name): info.distribution for info in manager.plugins for stage in info.replaces}
    order = [*SELECTED_HOOKS, "backbone"]
    rows = sorted(manager.plugins, key=lambda i: (order.index(i.stages[0]) if i.stages else 99, i.name))
    if as_json:
        failures = [failure.__dict__ for failure in manager.failures]
        clashes = [{**clash.__dict__, "distributions": list(clash.distributions)} for clash in manager.clashes]
        records = [plugin_record(i) for i in rows]
        document = {"plugin_api": PLUGIN_API, "plugins": records, "failures": failures, "clashes": clashes}
        print(json.dumps(document, indent=2))
        return
    width = max(len(_stage_names(info)) for info in rows)
    names = max(len(info.name) for info in rows)
    for info in rows:
        notes = [f"replaces the built-in {s}" for s in info.replaces]
        notes += [
            f"replaced by {replaced[stage, info.name]}"
            for stage in info.stages
            if info.origin == "built-in" and (stage, info.name) in replaced
        ]
        who = f"{info.distribution} {info.version}".strip() + "".join(f", {note}" for note in notes)
        print(f"{_stage_names(info):<{width}}  {info.name:<{names}}  {info.summary}  [{who}]")
    for failure in manager.failures:
        print(f"not loaded: {failure.name} of {failure.distribution}: {failure.cause}")
    for clash in manager.clashes:
        print(f"not to be chosen: {clash}")
    print(
        "\nplugins by others: docs/others.md, a list that a pull request can extend; your own: uce plugins new --help",
        file=sys.stderr,
    )


def show_plugin(name: str, plugins: Sequence[str], no_plugins: Sequence[str], as_json: bool) -> None:
    """A plugin's description and settings."""
    from uce.core.errors import PluginError, unknown_name
    from uce.core.registry.manager import load_manager

    manager = load_manager(plugins, no_plugins)
    found = [info for info in manager.plugins if info.name == name]
    if not found:
        raise PluginError(unknown_name("plugin", name, {info.name for info in manager.plugins}))
    if as_json:
        records = [{**plugin_record(i), "settings": i.settings_class.model_json_schema()} for i in found]
        print(json.dumps(records, indent=2))
        return
    for info in found:
        print(f"{info.name} ({_stage_names(info)}), {info.distribution} {info.version}\n{info.summary}")
        stage = info.stages[0] if info.stages else info.name
        prefix = f"refiner.{info.name}" if stage == "refiner" else stage
        for key, field in info.settings_class.model_fields.items():
            print(f"  {prefix}.{key} = {_default(field)}\n      {field.description or ''}")


def _default(field: Any) -> str:
    """A setting's default as it would be typed, whatever type a stranger gave it."""
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=not field.default_factory_takes_validated_data)
    return json.dumps(value, default=str)


def show_new_package(package: NewPackage, as_json: bool) -> None:
    """What was written, and the commands that come next."""
    folder = shlex.quote(str(package.folder))
    following = [
        f"pip install -e {folder}",
        package.command,
        f"python -m pytest {folder}",
    ]
    if as_json:
        record = {"folder": str(package.folder), "distribution": package.distribution, "module": package.module}
        print(json.dumps({**record, "files": list(package.files), "next": following}, indent=2))
        return
    shown = [path for path in package.files if not path.startswith(".")]
    print(f"wrote {package.folder}: {', '.join(shown)}")
    for label, command in zip(("next:", "", ""), following, strict=True):
        print(f"{label:<6}{command}")
