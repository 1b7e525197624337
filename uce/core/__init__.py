"""Data between stages, hook specifications, errors and the machinery around them, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AttentionMaps": "data",
    "Clusters": "data",
    "Concepts": "data",
    "TokenPlan": "data",
    "LearnedConcepts": "data",
    "Settings": "settings",
    "hookimpl": "hookspecs",
    "Context": "context",
    "Picture": "picture",
    "Backbone": "backbone",
    "Prompt": "backbone",
    "Conditioning": "backbone",
    "Capture": "backbone",
    "LayerMap": "backbone",
    "Tuning": "tuning",
    "TrainedWeights": "tuning",
    "train_weights": "tuning",
    "use_weights": "tuning",
    "Step": "events",
    "UceError": "errors",
    "ConfigError": "errors",
    "PluginError": "errors",
    "StageInputError": "errors",
    "DivergedError": "errors",
    "OutOfMemoryError": "errors",
    "NothingFoundError": "errors",
    "ModelError": "errors",
    "ImageError": "errors",
    "RunFolderError": "errors",
    "TokenFileError": "errors",
    "TokenExport": "exporting",
}

__all__ = [
    "AttentionMaps",
    "Backbone",
    "Capture",
    "Clusters",
    "Concepts",
    "Conditioning",
    "ConfigError",
    "Context",
    "DivergedError",
    "ImageError",
    "LayerMap",
    "LearnedConcepts",
    "ModelError",
    "NothingFoundError",
    "OutOfMemoryError",
    "Picture",
    "PluginError",
    "Prompt",
    "RunFolderError",
    "Settings",
    "StageInputError",
    "Step",
    "TokenExport",
    "TokenFileError",
    "TokenPlan",
    "TrainedWeights",
    "Tuning",
    "UceError",
    "hookimpl",
    "train_weights",
    "use_weights",
]

if TYPE_CHECKING:
    from uce.core.backbone import Backbone, Capture, Conditioning, LayerMap, Prompt
    from uce.core.context import Context
    from uce.core.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
    from uce.core.errors import (
        ConfigError,
        DivergedError,
        ImageError,
        ModelError,
        NothingFoundError,
        OutOfMemoryError,
        PluginError,
        RunFolderError,
        StageInputError,
        TokenFileError,
        UceError,
    )
    from uce.core.events import Step
    from uce.core.exporting import TokenExport
    from uce.core.hookspecs import hookimpl
    from uce.core.picture import Picture
    from uce.core.settings import Settings
    from uce.core.tuning import TrainedWeights, Tuning, train_weights, use_weights


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"uce.core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'uce.core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
