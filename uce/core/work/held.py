"""What people hold in their hands: a run that can load its model and show itself in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from uce.core.config.keywords import Names
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredConcept, StoredRun


@dataclass(frozen=True, eq=False)
class Concept(StoredConcept):
    __doc__ = StoredConcept.__doc__

    def _repr_png_(self) -> bytes | None:
        """The thing alone, in a notebook."""
        from uce.core.runs.notebook import concept_png

        return concept_png(self)


@dataclass(frozen=True, eq=False, repr=False)
class Run(StoredRun):
    """A run folder, read."""

    @classmethod
    def read(cls, folder: RunFolder) -> Run:
        """The run in a folder, looked through at once.

        Raises:
            RunFolderError: the folder is no run folder, damaged, or of a newer format.
        """
        run = cls(folder)
        _ = run.info, run.concepts
        return run

    @cached_property
    def concepts(self) -> list[Concept]:
        return self._read_concepts(Concept)

    def pipeline(self, device: str | None = None) -> Any:
        """A diffusers pipeline that knows the tokens and, where more than tokens was trained, has the weights.

        It is yours to change: its model is loaded for it alone, and what is loaded for runs is let go, so that memory
        holds one. For several pipelines of one model, change one with its own methods.
        """
        from uce.core.work.models import own_backbone

        trained = {"weights": self.weights} if self.weights else {}
        return own_backbone(self.path / "config.yaml", device).pipeline(self.tokens(), **trained)

    def backbone(self, device: str | None = None, plugin: Names = ()) -> Any:
        """The model this run was made with, loaded on `device` (None: the best one here) and shared with later calls.

        Args:
            plugin: arguments of `--plugin`, where the model needs a backbone plugin that is not installed.
        """
        from uce.core.config.options import Options
        from uce.core.work.models import stored_backbone

        return stored_backbone(self.path / "config.yaml", device, Options.of({"plugin": plugin}).plugin)

    def _repr_html_(self) -> str | None:
        """Overlay and concepts, in a notebook."""
        from uce.core.runs.notebook import run_html

        return run_html(self)

    def _repr_png_(self) -> bytes | None:
        """The overlay, where a notebook shows no HTML."""
        from uce.core.runs.notebook import run_png

        return run_png(self)
