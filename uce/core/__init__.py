"""What plugins may use, imported when first used: data between stages, contracts, errors. docs/public.md lists it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "ConfigError": "errors",
    "DivergedError": "errors",
    "ImageError": "errors",
    "ModelError": "errors",
    "NothingFoundError": "errors",
    "OutOfMemoryError": "errors",
    "PluginError": "errors",
    "RunFolderError": "errors",
    "StageInputError": "errors",
    "TokenFileError": "errors",
    "UceError": "errors",
    "not_damaged": "errors",
    "unknown_name": "errors",
    "RgbArray": "files.pictures",
    "Context": "flow.context",
    "AttentionMaps": "flow.data",
    "Clusters": "flow.data",
    "Concepts": "flow.data",
    "LearnedConcepts": "flow.data",
    "TokenPlan": "flow.data",
    "CellFinished": "flow.events",
    "PictureFinished": "flow.events",
    "RunFinished": "flow.events",
    "RunStarted": "flow.events",
    "StageFinished": "flow.events",
    "StageStarted": "flow.events",
    "Step": "flow.events",
    "Assignment": "flow.jobs",
    "Job": "flow.jobs",
    "Outcome": "flow.jobs",
    "lost_outcome": "flow.jobs:lost",
    "Picture": "flow.picture",
    "read_picture": "flow.picture",
    "Settings": "flow.settings",
    "Sighting": "flow.sightings",
    "hookimpl": "hookspecs",
    "train_weights": "model.abilities",
    "use_weights": "model.abilities",
    "capture_attention": "model.attention",
    "Backbone": "model.backbone",
    "Capture": "model.backbone",
    "Conditioning": "model.backbone",
    "Inpainting": "model.backbone",
    "Part": "model.regions",
    "Regions": "model.regions",
    "LayerMap": "model.backbone",
    "Prompt": "model.backbone",
    "Encoder": "model.encoder",
    "Features": "model.encoder",
    "capture_joint_attention": "model.joint",
    "capture_joint_features": "model.joint",
    "joint_layer_names": "model.joint",
    "read_attention": "model.reading",
    "to_grid": "model.reading",
    "to_saliency": "model.reading",
    "TrainedWeights": "model.tuning",
    "Tuning": "model.tuning",
    "Manager": "registry.manager",
    "load_manager": "registry.manager",
    "StoredConcept": "runs.stored",
    "StoredRun": "runs.stored",
    "TokenExport": "runs.token_export",
    "UpdateView": "training.extras",
    "train": "training.loop",
    "TrainingOptions": "training.options",
    "DenoisingSettings": "training.settings",
    "Worker": "work.worker",
}

__all__ = [
    "Assignment",
    "AttentionMaps",
    "Backbone",
    "Capture",
    "CellFinished",
    "Clusters",
    "Concepts",
    "Conditioning",
    "ConfigError",
    "Context",
    "DenoisingSettings",
    "DivergedError",
    "Encoder",
    "Features",
    "ImageError",
    "Inpainting",
    "Job",
    "LayerMap",
    "LearnedConcepts",
    "Manager",
    "ModelError",
    "NothingFoundError",
    "OutOfMemoryError",
    "Outcome",
    "Part",
    "Picture",
    "PictureFinished",
    "PluginError",
    "Prompt",
    "Regions",
    "RgbArray",
    "RunFinished",
    "RunFolderError",
    "RunStarted",
    "Settings",
    "Sighting",
    "StageFinished",
    "StageInputError",
    "StageStarted",
    "Step",
    "StoredConcept",
    "StoredRun",
    "TokenExport",
    "TokenFileError",
    "TokenPlan",
    "TrainedWeights",
    "TrainingOptions",
    "Tuning",
    "UceError",
    "UpdateView",
    "Worker",
    "capture_attention",
    "capture_joint_attention",
    "capture_joint_features",
    "hookimpl",
    "joint_layer_names",
    "load_manager",
    "lost_outcome",
    "not_damaged",
    "read_attention",
    "read_picture",
    "to_grid",
    "to_saliency",
    "train",
    "train_weights",
    "unknown_name",
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
        not_damaged,
        unknown_name,
    )
    from uce.core.files.pictures import RgbArray
    from uce.core.flow.context import Context
    from uce.core.flow.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
    from uce.core.flow.events import (
        CellFinished,
        PictureFinished,
        RunFinished,
        RunStarted,
        StageFinished,
        StageStarted,
        Step,
    )
    from uce.core.flow.jobs import Assignment, Job, Outcome
    from uce.core.flow.jobs import lost as lost_outcome
    from uce.core.flow.picture import Picture, read_picture
    from uce.core.flow.settings import Settings
    from uce.core.flow.sightings import Sighting
    from uce.core.hookspecs import hookimpl
    from uce.core.model.abilities import train_weights, use_weights
    from uce.core.model.attention import capture_attention
    from uce.core.model.backbone import Backbone, Capture, Conditioning, Inpainting, LayerMap, Prompt
    from uce.core.model.encoder import Encoder, Features
    from uce.core.model.joint import capture_joint_attention, capture_joint_features, joint_layer_names
    from uce.core.model.reading import read_attention, to_grid, to_saliency
    from uce.core.model.regions import Part, Regions
    from uce.core.model.tuning import TrainedWeights, Tuning
    from uce.core.registry.manager import Manager, load_manager
    from uce.core.runs.stored import StoredConcept, StoredRun
    from uce.core.runs.token_export import TokenExport
    from uce.core.training.extras import UpdateView
    from uce.core.training.loop import train
    from uce.core.training.options import TrainingOptions
    from uce.core.training.settings import DenoisingSettings
    from uce.core.work.worker import Worker

__getattr__, __dir__ = face(__name__, _HOMES)
