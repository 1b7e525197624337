"""Data between stages, hook specifications, errors and the machinery around them, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AttentionMaps": "flow.data",
    "Clusters": "flow.data",
    "Concepts": "flow.data",
    "TokenPlan": "flow.data",
    "LearnedConcepts": "flow.data",
    "Settings": "flow.settings",
    "hookimpl": "hookspecs",
    "Context": "flow.context",
    "Picture": "flow.picture",
    "Backbone": "model.backbone",
    "Prompt": "model.backbone",
    "Conditioning": "model.backbone",
    "Capture": "model.backbone",
    "capture_attention": "model.attention",
    "capture_joint_attention": "model.joint",
    "capture_joint_features": "model.joint",
    "joint_layer_names": "model.joint",
    "LayerMap": "model.backbone",
    "Tuning": "model.tuning",
    "TrainedWeights": "model.tuning",
    "train_weights": "model.abilities",
    "use_weights": "model.abilities",
    "Step": "flow.events",
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
    "TokenExport": "runs.token_export",
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
    "capture_attention",
    "capture_joint_attention",
    "capture_joint_features",
    "hookimpl",
    "joint_layer_names",
    "train_weights",
    "use_weights",
]

if TYPE_CHECKING:
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
    from uce.core.flow.context import Context
    from uce.core.flow.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
    from uce.core.flow.events import Step
    from uce.core.flow.picture import Picture
    from uce.core.flow.settings import Settings
    from uce.core.hookspecs import hookimpl
    from uce.core.model.abilities import train_weights, use_weights
    from uce.core.model.attention import capture_attention
    from uce.core.model.backbone import Backbone, Capture, Conditioning, LayerMap, Prompt
    from uce.core.model.joint import capture_joint_attention, capture_joint_features, joint_layer_names
    from uce.core.model.tuning import TrainedWeights, Tuning
    from uce.core.runs.token_export import TokenExport


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"uce.core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'uce.core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
