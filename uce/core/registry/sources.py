"""Plugins that `--plugin` names: a file, or an object of an importable module."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from uce.core.errors import PluginError
from uce.core.flow.plugin_info import Candidate, kebab
from uce.core.registry.host import kept


def from_argument(argument: str) -> Iterator[Candidate]:
    """The plugins that one `--plugin` argument names.

    A file gives its attribute `plugin` if it has one; else the module itself where functions of it are marked with
    `@hookimpl`; else every class of it that has marked methods. Names: the object's `name`, else the file's stem
    (several classes: each class's own name in kebab-case).

    Raises:
        PluginError: the file or object is missing or fails to import.
    """
    if argument.endswith(".py"):
        module, default, objects = _file_module(Path(argument)), kebab(Path(argument).stem), None
    elif ":" in argument:
        module_name, _, attribute = argument.partition(":")
        module, default = _import(module_name, argument), kebab(attribute)
        if not hasattr(module, attribute):
            raise PluginError(f"--plugin {argument}: module {module_name!r} has no {attribute!r}")
        objects = [getattr(module, attribute)]
    else:
        raise PluginError(f"--plugin {argument}: give a path to a .py file, or package.module:object")
    found = _objects(module) if objects is None else objects
    if not found:
        raise PluginError(f"--plugin {argument}: nothing in it is marked with @uce.hookimpl")
    for obj in found:
        try:
            with kept():
                instance = obj() if inspect.isclass(obj) else obj
        except Exception as error:
            raise PluginError(
                f"--plugin {argument}: {obj.__name__}() raised {type(error).__name__}: {error}"
            ) from error
        own = getattr(instance, "name", None)
        fallback = default if len(found) == 1 else kebab(type(instance).__name__)
        yield Candidate(own if isinstance(own, str) else fallback, instance, argument, "", argument)


def _file_module(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"--plugin {path}: no such file; give a path to a .py file, or package.module:object")
    name = f"uce_plugin_file_{re.sub(r'[^0-9a-zA-Z]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:
        with kept():
            spec.loader.exec_module(module)
    except Exception as error:  # a stranger's import may raise anything
        raise PluginError(f"--plugin {path}: importing it raised {type(error).__name__}: {error}") from error
    return module


def _import(module_name: str, argument: str) -> ModuleType:
    try:
        with kept():
            return import_module(module_name)
    except Exception as error:
        raise PluginError(f"--plugin {argument}: importing it raised {type(error).__name__}: {error}") from error


def _marked(obj: Any) -> bool:
    return any(hasattr(member, "uce_impl") for _, member in inspect.getmembers(obj, callable))


def _objects(module: ModuleType) -> list[Any]:
    if hasattr(module, "plugin"):
        return [module.plugin]
    functions = [f for _, f in inspect.getmembers(module, inspect.isfunction) if hasattr(f, "uce_impl")]
    if functions:
        return [module]
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    return [c for c in classes if _marked(c)]
