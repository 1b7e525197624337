"""Write the tables of docs/ that follow from the code.

A page holds `<!-- table: KIND ARGUMENTS -->` and `<!-- end -->`; what lies between is made here from the settings'
schemas, the hook specifications, the presets and the command line.

    python docs/make_tables.py            rewrites the pages
    python docs/make_tables.py --check    changes nothing; exit code 1 and the names of stale pages
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from uce.core.config.presets import PRESETS
from uce.core.config.resolving import resolve_config
from uce.core.flow.configuration import Config
from uce.core.flow.plugin_info import PluginInfo
from uce.core.flow.run_settings import ModelSettings, RunSettings
from uce.core.flow.settings import Settings
from uce.core.hookspecs import (
    SELECTED_HOOKS,
    BackboneSpecs,
    EncoderSpecs,
    ExecutorSpecs,
    ExporterSpecs,
    ObserverSpecs,
    StageSpecs,
)
from uce.core.registry.manager import Manager, load_manager
from uce.evaluation.settings import EvaluationSettings

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- table: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
STAGES = {hook: stage for stage, hook in SELECTED_HOOKS.items()} | {"uce_load_backbone": "backbone"}


def manager() -> Manager:
    """Our own plugins alone: what else is installed on this machine is no part of the docs."""
    found = load_manager()
    found.plugins = [info for info in found.plugins if info.distribution == "uce-concepts"]
    return found


def plugin(stage: str, name: str) -> PluginInfo:
    return manager().get(stage, name)


def table(head: list[str], rows: list[list[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def plain(value: Any) -> str:
    """A default as people would type it after `--set KEY=`."""
    return value if isinstance(value, str) else json.dumps(value)


def allowed(annotation: Any, metadata: list[Any]) -> str:
    """What a field may hold, in words: choices, kind of number, bounds."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    optional = type(None) in arguments
    kinds = [kind for kind in arguments if kind is not type(None)] if optional else [annotation]
    names = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    lists = {int: "list of whole numbers", float: "list of numbers", str: "list of texts"}
    text = " or ".join(
        lists[typing.get_args(kind)[0]] if typing.get_origin(kind) in (list, tuple) else names[kind] for kind in kinds
    )
    bounds = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    for limit in metadata:
        for attribute, word in bounds.items():
            value = getattr(limit, attribute, None)
            if value is not None:
                text += f" {word} {'2^63' if value == 2**63 else plain(value)}"
    return f"{text}, or `null`" if optional else text


def fields(settings: type[Settings], prefix: str) -> str:
    rows = [
        [f"`{prefix}.{key}`", f"`{plain(f.default)}`", allowed(f.annotation, f.metadata), f.description or ""]
        for key, f in settings.model_fields.items()
    ]
    return table(["key", "default", "allowed", "meaning"], rows) if rows else "No settings."


def settings_table(stage: str, name: str) -> str:
    return fields(plugin(stage, name).settings_class, f"refiner.{name}" if stage == "refiner" else stage)


def section_table(section: str) -> str:
    return fields({"model": ModelSettings, "run": RunSettings}[section], section)


def evaluation_table() -> str:
    return fields(EvaluationSettings, "evaluate")


def summary(stage: str, name: str) -> str:
    return plugin(stage, name).summary


def hooks_table() -> str:
    rows = []
    for specs in (StageSpecs, BackboneSpecs, EncoderSpecs, ExporterSpecs, ExecutorSpecs, ObserverSpecs):
        for name, spec in vars(specs).items():
            if not name.startswith("uce_"):
                continue
            signature = inspect.signature(spec)
            arguments = [parameter for parameter in signature.parameters if parameter != "self"]
            returns = str(signature.return_annotation).replace(" | None", "").replace("None", "nothing")
            rows.append(
                [
                    f"`{name}`",
                    STAGES.get(name, "observer"),
                    ", ".join(f"`{argument}`" for argument in arguments),
                    returns if returns == "nothing" else f"`{returns}`",
                    (inspect.getdoc(spec) or "").split("\n", 1)[0],
                ]
            )
    return table(["hook", "stage", "arguments", "returns", "what it does"], rows)


def presets_table() -> str:
    """Where the presets differ, from the configurations that they resolve to."""
    plugins = manager()
    configs = {name: _flat(resolve_config(plugins, preset=name)) for name in PRESETS}
    keys = list(dict.fromkeys(key for flat in configs.values() for key in flat))
    rows = []
    for key in keys:
        values = [plain(flat[key]) if key in flat else "" for flat in configs.values()]
        if len(set(values)) > 1:
            rows.append([f"`{key}`", *(f"`{value}`" if value else "" for value in values)])
    return table(["key", *(f"`{name}`" for name in configs)], rows)


def _flat(config: Config) -> dict[str, Any]:
    document = config.to_dict()
    document.pop("preset")
    flat: dict[str, Any] = {}
    for section, body in document.items():
        for key, value in body.items():
            if isinstance(value, dict):
                flat.update({f"{section}.{key}.{inner}": v for inner, v in value.items()})
            else:
                flat[f"{section}.{key}"] = "+".join(value) if key == "chain" else value
    return flat


def commands() -> dict[str, Any]:
    """Every command by the words one types after `uce`; "" is `uce` itself."""
    import typer.main

    from uce.cli import app

    def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        yield words, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{words} {name}".strip())

    return dict(walk(typer.main.get_command(app), ""))


def command_table(*words: str) -> str:
    rows = []
    for parameter in commands()[" ".join(words)].params:
        argument = parameter.param_type_name == "argument"
        shown = parameter.metavar if argument else ", ".join(f"`{name}`" for name in parameter.opts)
        takes = "" if argument or parameter.is_flag else " " + (parameter.metavar or "VALUE")
        notes = [*(["required"] if parameter.required else []), *(["repeatable"] if _many(parameter) else [])]
        if not argument and parameter.default is not None and not parameter.is_flag and parameter.default != ():
            notes.append(f"default {parameter.default}")
        rows.append([f"`{shown}`" if argument else shown + takes, ", ".join(notes), parameter.help or ""])
    rows.append(["`--help`", "", "Show the command's options and stop."])
    return table(["argument or option", "", "meaning"], rows)


def _many(parameter: Any) -> bool:
    return bool(getattr(parameter, "multiple", False)) or getattr(parameter, "nargs", 1) == -1


VALUES = {
    "PLUGIN_API": "Version of all that stands on this page: rises when something goes away.",
    "__version__": "Version of uce.",
    "hookimpl": "Marks a method as the implementation of a hook.",
    "Features": "Type: numpy float32, what an encoder gives.",
    "RgbArray": "Type: numpy uint8, (H, W, 3).",
    "Grid": "Type: (h, w).",
    "DEFAULT_SCHEDULER": "The sampler that draws where none is named.",
    "LORA_DOWN": "End of a LoRA matrix's name: (rank, inputs).",
    "TRANSFORMER_PREFIX": "Beginning of a trained tensor's name in a transformer.",
    "TRANSFORMER_DOWN": "End of a transformer's LoRA matrix's name: (rank, inputs).",
    "TRANSFORMER_UP": "End of a transformer's LoRA matrix's name: (outputs, rank).",
    "Cells": "Type: numpy int64, indexes into the grid.",
    "Floats": "Type: numpy float64.",
    "Masks": "Type: numpy bool.",
    "Weights": "Type: gives the graph's weights between some cells.",
    "Sizes": "Type: sizes by layer.",
    "LORA_UP": "End of a LoRA matrix's name: (outputs, rank).",
    "PREFIX": "Beginning of a trained tensor's name.",
}
"""What is public and has no docstring."""


def public_table(face: str) -> str:
    """What a face shows, with the first line of each docstring."""
    module, rows = import_module(face), []
    for name in sorted(module.__all__, key=str.casefold):
        value = getattr(module, name)
        documented = inspect.isclass(value) or inspect.isfunction(value)
        text = inspect.cleandoc(value.__doc__ or "") if documented else ""
        first = " ".join(text.split("\n\n", 1)[0].split())
        called = f"{name}({', '.join(inspect.signature(value).parameters)})" if inspect.isfunction(value) else name
        rows.append([f"`{called}`", re.split(r"(?<=[.;:]) ", first, maxsplit=1)[0] if first else VALUES[name]])
    return table(["name", "what it is"], rows)


MAKERS: dict[str, Callable[..., str]] = {
    "public": public_table,
    "settings": settings_table,
    "summary": summary,
    "section": section_table,
    "evaluation": evaluation_table,
    "hooks": hooks_table,
    "presets": presets_table,
    "command": command_table,
}


def rewritten(text: str) -> str:
    """A page with every table made anew."""

    def make(found: re.Match[str]) -> str:
        kind, *arguments = found[2].split()
        return f"{found[1]}\n{MAKERS[kind](*arguments)}\n\n{found[3]}"

    return BLOCK.sub(make, text)


def stale_pages() -> dict[Path, str]:
    """Pages whose tables no longer follow from the code, with the text that would."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {path: new for path, old in pages.items() if (new := rewritten(old)) != old}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the tables of docs/ that follow from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a page is stale")
    check = parser.parse_args().check
    stale = stale_pages()
    for path, text in stale.items():
        print(f"{'stale' if check else 'wrote'} docs/{path.relative_to(DOCS)}")
        if not check:
            path.write_text(text, encoding="utf-8")
    raise SystemExit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
