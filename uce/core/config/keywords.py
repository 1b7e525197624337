"""Keyword arguments of the public functions: typed for editors and checkers, refused in one sentence at run time."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from uce.core.config.assigned import Assignments
from uce.core.errors import ConfigError, unknown_name
from uce.core.registry.host import restored

if TYPE_CHECKING:
    from uce.core.model.backbone import Backbone

Function = TypeVar("Function", bound=Callable[..., Any])
Name = str | Path
Names = Name | Sequence[Name]


class ModelOptions(TypedDict, total=False):
    """Of everything that works with a model."""

    model: Name | Backbone | None
    """mini, a diffusers folder, a file, a hub id, or a model that is loaded already (`run.backbone()`)."""
    seed: int | None
    device: str | None
    precision: str | None
    plugin: Names
    """Plugin files, or "package.module:object"."""
    no_plugin: str | Sequence[str]
    observers: Iterable[object]
    """Objects with observer hooks."""


class RunOptions(ModelOptions, total=False):
    """Of everything that works with a configuration; None leaves the choice to it."""

    extractor: str | None
    foreground: str | None
    clusterer: str | None
    refiner: str | Sequence[str] | None
    """The chain: "saliency+merge", ["saliency", "merge"]; a "+" in front appends."""
    initializer: str | None
    optimizer: str | None
    set: Assignments
    """["optimizer.steps=200"], {"optimizer.steps": 200} or {"optimizer": {"steps": 200}}."""
    config: Name | None
    preset: str | None
    concepts: int | Sequence[int] | None
    names: str | Sequence[str] | None


class FollowedOptions(RunOptions, total=False):
    """Of single runs."""

    tracker: str | Sequence[str]
    """tensorboard, trackio or wandb, or several."""


class ExportOptions(TypedDict, total=False):
    """Of `uce.export` and `uce.push`."""

    concepts: Sequence[int] | None
    names: Sequence[str] | None
    licence: str | None
    set: Assignments
    plugin: Names
    overwrite: bool


class DrawOptions(TypedDict, total=False):
    """Of `uce.generate` and `uce.draw`, which describes them."""

    concepts: Sequence[str]
    library: Name | None
    count: int
    seed: int
    steps: int | None
    guidance: float | None
    negative: str
    scheduler: str
    grid: bool
    heat: bool
    into: Any
    mask: Any
    regions: bool
    layout: Mapping[str, Any] | Name | None
    like: Any
    model: Name | None
    device: str | None
    plugin: Names


def public(function: Function) -> Function:
    """A function that people call: an unknown keyword is one sentence with the nearest name, and torch, random
    states, filters of warnings and the working folder are afterwards as they were.

    Raises:
        ConfigError: an unknown keyword.
    """
    known = names_of(function)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        for name in options:
            if name not in known:
                raise ConfigError(f"uce.{function.__name__}: {unknown_name('option', name, known)}")
        with restored():
            return function(*args, **options)

    return call  # type: ignore[return-value]


def names_of(function: Callable[..., Any]) -> list[str]:
    """Every keyword that a function takes; those of `**options: Unpack[SomeOptions]` included."""
    known: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            known.append(name)
            continue
        options = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
        assert options is not None, f"{function.__name__}: say which options with Unpack"
        known += globals()[options[1]].__annotations__
    return known
