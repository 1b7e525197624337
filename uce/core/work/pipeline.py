"""The orchestrator: calls the selected plugin of each stage in order and checks what it returns.

Data flows one way: picture -> AttentionMaps -> Clusters -> Concepts -> TokenPlan -> LearnedConcepts.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from uce.core.errors import (
    DivergedError,
    NothingFoundError,
    OutOfMemoryError,
    PluginError,
    RunFolderError,
    UceError,
    is_out_of_memory,
)
from uce.core.files.writing import write_traceback
from uce.core.flow.configuration import Choice, Config
from uce.core.flow.context import Checkpoint, Context, NoCheckpoint
from uce.core.flow.data import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
from uce.core.flow.events import StageFinished, StageStarted
from uce.core.flow.names import Named
from uce.core.flow.picture import Picture
from uce.core.flow.run_settings import what_to_lower
from uce.core.flow.serial import StageData, content_digest
from uce.core.flow.sightings import Sighting, sightings_digest
from uce.core.localisation.candidates import candidate_concepts, with_maps
from uce.core.model.backbone import Backbone
from uce.core.registry.host import Call
from uce.core.registry.manager import Manager
from uce.core.runs.folder import RunFolder
from uce.core.work.cache import FileCheckpoint, SharedStore, StageCache, stage_key
from uce.version import __version__

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass
class Work:
    """One picture on its way through the stages, and everything that it needs there.

    Attributes:
        manager, config: which plugins, with which settings.
        model, image: None only where stages two and three run on bare maps; `backbone` and `picture` are never None.
        folder: the run's, where results of stages, checkpoints and tracebacks are kept; None keeps nothing.
        shared: where stage results are kept instead, together with those of other runs.
        seconds: what each stage took that was computed here.
        reused: what each stage took that another run had computed.
        names: what the model would call each concept; None before they are found, or where it can give no names.
        sightings: the concepts in further pictures, for the optimizer.
    """

    manager: Manager
    config: Config
    model: Backbone | None = None
    image: Picture | None = None
    folder: RunFolder | None = None
    shared: SharedStore | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    reused: dict[str, float] = field(default_factory=dict)
    names: list[Named] | None = None
    sightings: Sequence[Sighting] = ()

    @property
    def backbone(self) -> Backbone:
        assert self.model is not None, "this stage needs a model"
        return self.model

    @property
    def picture(self) -> Picture:
        assert self.image is not None, "this stage needs a picture"
        return self.image

    @property
    def done(self) -> bool:
        """The folder holds this very run, finished."""
        return self.folder is not None and self.folder.is_run and self.folder.read_run().get("status") == "done"

    def require_folder(self) -> None:
        """Refuse to write into a folder that is no longer the run's: what it needs besides would be missing.

        Raises:
            RunFolderError: somebody removed it, or run.json, while uce worked.
        """
        if self.folder is not None and not self.folder.is_run:
            self.folder.discard()
            raise RunFolderError(
                f"{self.folder.path} was removed while uce worked in it; run again, and leave the folder until it ends"
            )

    def extract(self) -> AttentionMaps:
        """Stage one."""
        choice = self.config.extractor
        return self._stage(choice, AttentionMaps, self._attention_key(), backbone=self.backbone, image=self.image)

    def localize(self, attention: AttentionMaps) -> Concepts:
        """The foreground step, stages two and three: clusters, one candidate per cluster, then the chain of refiners.

        Bare maps have no foreground step: it belongs to a picture. Clusterers and refiners see the affinity that it
        made; the concepts' maps, which learning follows, are of the extractor's.

        Raises:
            NothingFoundError: no concept is left.
        """
        key = self._attention_key() if self.model else content_digest(attention)
        extracted = attention
        if self.image is not None:
            key = self._key(self.config.foreground, upstream=key)
            attention = self._foreground(attention, key)
        key = self._key(self.config.clusterer, upstream=key)
        clusters = self._stage(self.config.clusterer, Clusters, key, attention=attention, image=self.image)
        self._require(self.config.clusterer, tuple(clusters.labels.shape) == attention.grid, "labels", attention.grid)
        self._require_picture_size(self.config.clusterer, clusters.pixel_masks)
        if self.image is not None:  # what lies on padding is no part of the picture
            valid = self.image.valid(attention.grid)
            if attention.foreground is not None:
                valid = valid & attention.foreground.cpu()
            labels = torch.where(valid, clusters.labels.cpu(), torch.full_like(clusters.labels.cpu(), -1))
            clusters = dataclasses.replace(clusters, labels=labels)
        concepts = candidate_concepts(attention, clusters)
        for choice in self.config.refiners:
            key = self._key(choice, upstream=key)
            concepts = self._stage(choice, Concepts, key, concepts=concepts, attention=attention, image=self.image)
            self._require(choice, concepts.grid == attention.grid, "masks", attention.grid)
            self._require_picture_size(choice, concepts.pixel_masks)
        if attention.affinity is not extracted.affinity:
            concepts = with_maps(concepts, extracted)
        return self._finished(concepts)

    def _foreground(self, attention: AttentionMaps, key: str) -> AttentionMaps:
        """What the foreground step makes of the maps; kept for other runs only: quicker to make than to write."""
        choice, shared = self.config.foreground, self.shared is not None
        found = self._stage(choice, AttentionMaps, key, keep=shared, attention=attention, image=self.image)
        self._require(choice, found.grid == attention.grid, "maps", attention.grid)
        return found

    def _finished(self, concepts: Concepts) -> Concepts:
        """Give every concept a mask of pixels; drop those that show none."""
        if self.image is not None and concepts.pixel_masks is None:
            concepts = dataclasses.replace(concepts, pixel_masks=self.picture.to_original(concepts.masks))
        shown = concepts.masks if concepts.pixel_masks is None else concepts.pixel_masks
        kept = [k for k in range(len(concepts)) if bool(shown[k].any()) and bool(concepts.masks[k].any())]
        if not kept:
            raise NothingFoundError(
                "no concept was found in this picture; try --refiner merge, another --clusterer, or a picture whose "
                "things stand out"
            )
        return concepts if len(kept) == len(concepts) else concepts.select(kept)

    def initialize(self, concepts: Concepts, tokens: tuple[str, ...]) -> TokenPlan:
        """Stage four on `concepts`, named `tokens`."""
        backbone, choice, key = self.backbone, self.config.initializer, self._plan_key(concepts, tokens)
        plan = self._stage(choice, TokenPlan, key, concepts=concepts, backbone=backbone, image=self.image)
        self._require(choice, len(plan.tokens) == len(concepts), "tokens", len(concepts))
        self._require(choice, set(plan.starts) == set(backbone.encoders), "starts for the encoders", backbone.encoders)
        return dataclasses.replace(plan, tokens=tokens)

    def optimize(self, plan: TokenPlan, concepts: Concepts) -> LearnedConcepts:
        """Stage five, from what `initialize` gave for the same concepts."""
        choice = self.config.optimizer
        key = self._key(choice, upstream=self._plan_key(concepts, plan.tokens) + sightings_digest(self.sightings))
        given: dict[str, Any] = {"plan": plan, "concepts": concepts, "backbone": self.backbone, "image": self.image}
        learned = self._stage(choice, LearnedConcepts, key, **given)
        self._require(choice, learned.tokens == plan.tokens, "tokens", plan.tokens)
        return learned

    def learn(self, concepts: Concepts, tokens: tuple[str, ...]) -> LearnedConcepts:
        """Stages four and five on `concepts`, named `tokens`."""
        return self.optimize(self.initialize(concepts, tokens), concepts)

    def _plan_key(self, concepts: Concepts, tokens: tuple[str, ...]) -> str:
        return self._key(self.config.initializer, upstream=f"{content_digest(concepts)}/{','.join(tokens)}")

    def _attention_key(self) -> str:
        return self._key(self.config.extractor, upstream=f"{self.picture.digest}/{self.picture.fit}")

    def _key(self, choice: Choice, upstream: str) -> str:
        run = self.config.run
        facts = {
            "upstream": upstream,
            "seed": run.seed,
            "versions": [__version__, torch.__version__],
            "model": self.backbone.fingerprint if self.model else None,
            "device": [self.backbone.device, self.backbone.precision] if self.model else None,
            "sums": [run.threads, run.micro_batch, self.config.model.compile],
        }
        return stage_key(choice, [info.obj for info in self.manager.wrappers(choice.stage)], facts)

    def _context(self, choice: Choice, key: str) -> Context:
        checkpoint: Checkpoint = NoCheckpoint()
        if self.folder is not None and choice.stage == "optimizer":
            checkpoint = FileCheckpoint(self.folder.checkpoint, key)
        run = self.config.run
        return Context(
            seed=run.seed,
            stage=choice.stage,
            device=self.backbone.device if self.model else "cpu",
            checkpoint=checkpoint,
            checkpoint_every=run.checkpoint_every,
            micro_batch=run.micro_batch,
            emit=self.manager.emit,
            sightings=self.sightings,
        )

    def _stage(self, choice: Choice, kind: type[T], key: str, *, keep: bool = True, **arguments: Any) -> T:
        """Call one plugin, or take its result from the cache; tell observers."""
        name = choice.plugin.name
        slot = f"{choice.stage}-{name}" if choice.stage == "refiner" else choice.stage
        started = time.perf_counter()
        log.debug("%s %s begins; key %s", choice.stage, name, key)
        self.manager.emit(StageStarted(choice.stage, name, getattr(choice.settings, "steps", None)))
        result = self._recall(slot, key) if keep else None
        cached = isinstance(result, kind)
        if not isinstance(result, kind):
            call = self.manager.caller(choice.stage, choice.plugin)
            context = self._context(choice, key)
            result = self._guarded(choice, call, **arguments, settings=choice.settings, context=context)
            if not isinstance(result, kind):
                raise PluginError(
                    f"{choice.stage} {choice.plugin} returned {type(result).__name__}, not {kind.__name__}; "
                    f"see `uce plugins show {name}`"
                )
            self.seconds[slot] = time.perf_counter() - started
            if keep:
                self._keep(slot, key, result)  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
        log.info("%s %s %s after %.3f s", choice.stage, name, "kept from before" if cached else "finished", seconds)
        self.manager.emit(StageFinished(choice.stage, name, result, seconds, cached))
        return result

    @property
    def _cache(self) -> StageCache:
        """The folder's own results."""
        return StageCache(self.folder / "stages" if self.folder else None)

    def _recall(self, slot: str, key: str) -> StageData | None:
        """The stage's result from before, or None."""
        if self.shared is None:
            return self._cache.get(slot, key)
        kept = self.shared.get(key)
        if kept is None:
            return None
        (self.reused if kept.reused else self.seconds)[slot] = kept.seconds
        return kept.data

    def _keep(self, slot: str, key: str, result: StageData) -> None:
        if self.shared is None:
            self._cache.put(slot, key, result)
        else:
            self.shared.put(key, result, self.seconds[slot])

    def _guarded(self, choice: Choice, call: Call, **arguments: Any) -> Any:
        """Call a plugin; a stranger's exception becomes one line and a file with the traceback."""
        try:
            return call(**arguments)
        except DivergedError as error:
            raise DivergedError(f"{choice.stage} {choice.plugin}: {error}{self._last_good_state()}") from error
        except UceError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"memory ran out in the {choice.stage} {choice.plugin.name!r}; "
                    f"{what_to_lower(self.config.run, choice.stage, choice.settings, self.backbone)}"
                ) from error
            wrappers = self.manager.wrappers(choice.stage)
            culprit = self.manager.raiser(call, error) or choice.plugin
            if culprit.origin == "built-in" and not wrappers:
                raise  # our own fault: keep the traceback
            path = write_traceback(None if self.folder is None else self.folder.path)
            message = " ".join(str(error).split())[:200]
            who = f"{choice.stage} {culprit}"
            if culprit in wrappers:
                who = f"wrapper {culprit} of the {choice.stage} {choice.plugin.name!r}"
            elif culprit.origin == "built-in":
                who += f", wrapped by {', '.join(map(str, wrappers))},"
            raise PluginError(f"{who} raised {type(error).__name__}: {message}; traceback in {path}") from error

    def _last_good_state(self) -> str:
        path = None if self.folder is None else self.folder.checkpoint
        return f"; the last good state is kept in {path}" if path is not None and path.is_file() else ""

    def _require_picture_size(self, choice: Choice, pixel_masks: torch.Tensor | None) -> None:
        if self.image is not None and pixel_masks is not None:
            size = tuple(pixel_masks.shape[1:])
            self._require(choice, size == self.picture.size, "pixel_masks", self.picture.size)

    @staticmethod
    def _require(choice: Choice, holds: bool, what: str, allowed: Any) -> None:
        if not holds:
            raise PluginError(
                f"{choice.stage} {choice.plugin} returned {what} that do not fit; they must be for {allowed}"
            )
