"""The hooks that are no stage: who is asked what. Each kind has its rules in a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from uce.core.flow.plugin_info import PluginInfo
from uce.core.flow.run_settings import ModelSettings
from uce.core.flow.settings import Settings
from uce.core.registry.manager import Manager
from uce.testing.backbones import check_loading
from uce.testing.encoders import check_encoder
from uce.testing.executors import check_executor
from uce.testing.exporters import check_exporter
from uce.testing.observers import check_observer

KINDS = ("encoder", "exporter", "executor", "backbone", "observer")
DEFAULT_MODEL = "mini"


def kinds_of(info: PluginInfo) -> tuple[str, ...]:
    """Those of `KINDS` that a plugin is."""
    return (*(stage for stage in info.stages if stage in KINDS), *(("observer",) if info.observes else ()))


def check_kind(
    manager: Manager, info: PluginInfo, kind: str, settings: Settings, where: str, model: str | None = None
) -> None:
    """
    Args:
        model: a `--model` that a backbone plugin understands; None tries its own name, then the embedded model's.

    Raises:
        ContractError: a rule of `kind` is broken.
    """
    if kind == "observer":
        check_observer(manager, info.observes, where)
    elif kind == "backbone":
        ask: Callable[..., Any] = manager.pm.hook.uce_load_backbone
        load = partial(ask, settings=ModelSettings(), device="cpu", precision="float32")
        check_loading(lambda name: load(model=name), [model] if model else [info.name, DEFAULT_MODEL], where)
    else:
        hook = partial(manager.caller(kind, info), settings=settings)
        if kind == "encoder":
            check_encoder(partial(hook, name=info.name, device="cpu"), where)
        else:
            {"exporter": check_exporter, "executor": check_executor}[kind](hook, where)
