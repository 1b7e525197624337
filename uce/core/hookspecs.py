"""Everything that can be extended, in one place: stages, backbones, encoders, exporters, executors and observers.

The data types are in `uce.core.flow.data`; an implementation may take fewer arguments than its spec names.
Project name and entry-point group: ``uce``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
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
    from uce.core.flow.picture import Picture
    from uce.core.model.backbone import Backbone
    from uce.core.model.encoder import Encoder
    from uce.core.runs.stored import StoredRun
    from uce.core.runs.token_export import TokenExport

hookspec = pluggy.HookspecMarker("uce")
hookimpl = pluggy.HookimplMarker("uce")


class Plugins(Protocol):
    """The registered plugins and observers, as far as a hook may know them: `uce.core.registry.Manager` in full."""

    def emit(self, event: Any) -> None:
        """Tell the observers: event class `StageFinished` goes to hook `uce_stage_finished`."""


class StageSpecs:
    """The five stages, and the foreground step between the first two.

    The orchestrator calls exactly one selected plugin of each (refiners: each of the chain).
    """

    @hookspec(firstresult=True)
    def uce_extract_attention(
        self, backbone: Backbone, image: Picture, settings: Any, context: Context
    ) -> AttentionMaps | None:
        """Attention extraction: run the frozen backbone on the picture, return affinity and saliency."""

    @hookspec(firstresult=True)
    def uce_find_foreground(
        self, attention: AttentionMaps, image: Picture, settings: Any, context: Context
    ) -> AttentionMaps | None:
        """The foreground step: say which cells may be things', and show clusterers an affinity that suits them."""

    @hookspec(firstresult=True)
    def uce_cluster(
        self, attention: AttentionMaps, image: Picture | None, settings: Any, context: Context
    ) -> Clusters | None:
        """Clustering: label every grid cell; -1 leaves a cell unassigned."""

    @hookspec(firstresult=True)
    def uce_refine_masks(
        self, concepts: Concepts, attention: AttentionMaps, image: Picture | None, settings: Any, context: Context
    ) -> Concepts | None:
        """Mask refinement: drop, merge, split or sharpen candidate concepts; the first refiner gets one per cluster."""

    @hookspec(firstresult=True)
    def uce_initialize_tokens(
        self, concepts: Concepts, backbone: Backbone, image: Picture, settings: Any, context: Context
    ) -> TokenPlan | None:
        """Token initialization: choose the starting vectors of each concept token."""

    @hookspec(firstresult=True)
    def uce_optimize(
        self,
        plan: TokenPlan,
        concepts: Concepts,
        backbone: Backbone,
        image: Picture,
        settings: Any,
        context: Context,
    ) -> LearnedConcepts | None:
        """Optimization: learn one embedding per concept and text encoder."""


class BackboneSpecs:
    """Which plugin understands a `--model`."""

    @hookspec(firstresult=True)
    def uce_load_backbone(self, model: str, settings: Any, device: str, precision: str) -> Backbone | None:
        """Load `model` (an id, folder or file) or return None to leave it to another plugin.

        `settings` is the validated `model.*` configuration (`uce.core.flow.run_settings.ModelSettings`); `device` is
        "cpu", "cuda", "cuda:1" or "mps"; `precision` is "float32", "bfloat16" or "float16".
        """


class EncoderSpecs:
    """What `uce evaluate` looks at pictures with; selected by name, as a stage's plugin is."""

    @hookspec(firstresult=True)
    def uce_load_encoder(self, name: str, settings: Any, device: str) -> Encoder | None:
        """Load the picture encoder that `--encoder` names.

        `name` is the selected plugin's name; `settings` its own validated `Settings` (`--set encoder.K=V`).
        """


class ExporterSpecs:
    """How tokens go where people draw; `uce export --to` selects by name, as a stage's plugin is."""

    @hookspec(firstresult=True)
    def uce_export(self, run: StoredRun, tokens: Sequence[TokenExport], out: Path, settings: Any) -> str | None:
        """Write tokens of a run into `out`, an empty folder, as another program reads them; return how to use them.

        `tokens` are the chosen concepts under the names they are to have there, with vectors and header facts;
        `settings` is the plugin's own validated `Settings` (`--set exporter.K=V`). The files are moved to where the
        user wants them once the hook has returned.
        """


class ExecutorSpecs:
    """Who works on the pictures of `uce batch`; selected by name, as a stage's plugin is."""

    @hookspec(firstresult=True)
    def uce_execute(
        self, jobs: Sequence[Job], assignment: Assignment, settings: Any, manager: Plugins
    ) -> Iterator[Outcome] | None:
        """Have every job done and yield its outcome as it ends, in any order.

        A worker is `uce.core.work.worker.Worker(assignment)`, made once for many jobs; `assignment` and jobs turn into
        text and back (`to_text`, `from_text`), to cross to other processes. A worker that dies costs only its job,
        which is done again. `manager` holds the driver's plugins and observers, for executors that work in its process.
        Closing the iterator stops all workers.
        """


class ObserverSpecs:
    """What others may watch. Observers write pictures, logs, caches and progress; they never change a result."""

    @hookspec
    def uce_run_started(self, event: RunStarted) -> None:
        """A run begins: configuration, picture and folder are known."""

    @hookspec
    def uce_stage_started(self, event: StageStarted) -> None:
        """A stage's plugin is about to be called."""

    @hookspec
    def uce_step(self, event: Step) -> None:
        """One optimiser update is done."""

    @hookspec
    def uce_stage_finished(self, event: StageFinished) -> None:
        """A stage returned, or its result came from the cache."""

    @hookspec
    def uce_run_finished(self, event: RunFinished) -> None:
        """A run ended: done, localized, failed or interrupted."""

    @hookspec
    def uce_cell_finished(self, event: CellFinished) -> None:
        """One cell of an ablation ended on one picture, or was finished before."""

    @hookspec
    def uce_picture_finished(self, event: PictureFinished) -> None:
        """One picture of a batch ended, or was finished before."""


STAGE_HOOKS = {
    "extractor": "uce_extract_attention",
    "foreground": "uce_find_foreground",
    "clusterer": "uce_cluster",
    "refiner": "uce_refine_masks",
    "initializer": "uce_initialize_tokens",
    "optimizer": "uce_optimize",
}

SELECTED_HOOKS = {
    **STAGE_HOOKS,
    "encoder": "uce_load_encoder",
    "exporter": "uce_export",
    "executor": "uce_execute",
}
"""Hooks whose plugin is selected by name: the stages, what measures them, what takes their results elsewhere, and who
has them done for many pictures."""
