"""A picture's way to masks: stages one to three, with or without a run folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.config.options import Options
from uce.core.files.locks import alone_in
from uce.core.files.pictures import PictureSource
from uce.core.files.writing import write_picture
from uce.core.flow.data import AttentionMaps, Concepts
from uce.core.flow.names import Named
from uce.core.model.measured import warning_about
from uce.core.model.words import labels_for
from uce.core.runs.overlay import draw_overlay
from uce.core.runs.token_names import choose_concepts, name_tokens
from uce.core.work.cache import StageCache
from uce.core.work.models import torch_settings
from uce.core.work.naming import name_things
from uce.core.work.opening import begin, recorded
from uce.core.work.pipeline import Work
from uce.core.work.shrinking import shrinking

log = logging.getLogger(__name__)


def find_concepts(work: Work) -> tuple[Concepts, list[int], tuple[str, ...]]:
    """Stages one to three, and everything of the run folder that shows them: the concepts, their indexes and tokens."""
    concepts = work.localize(work.extract())
    indexes = choose_concepts(len(concepts), work.config.run.concepts)
    tokens = name_tokens(indexes, work.config.run.names)
    concepts = concepts.select(indexes)
    if work.folder is not None:
        write_localisation(work, concepts, indexes, tokens)
    return concepts, indexes, tokens


def write_localisation(
    work: Work, concepts: Concepts, indexes: list[int], tokens: tuple[str, ...], keep: Sequence[str] = ()
) -> None:
    """Masks, overlay and table; the concepts themselves go to stages/, for `learn`. Mask files `keep` stay."""
    work.require_folder()
    folder = work.folder
    assert folder is not None and concepts.pixel_masks is not None
    note_strangeness(work)
    StageCache(folder / "stages").put("concepts", ",".join(map(str, indexes)), concepts)
    folder.write_masks(concepts.pixel_masks.numpy(), indexes, keep)
    work.names = name_things(work.backbone, work.picture.original, concepts.pixel_masks)
    labels = labels_for(concepts, None, [one.label for one in work.names or []])
    write_names(work, replace(concepts, labels=labels), indexes, tokens, work.names)


def note_strangeness(work: Work) -> None:
    """Warn, in run.json and in the log, of a picture that is unlike all that the model knows."""
    warning = warning_about(work.backbone, work.picture)
    if work.folder is not None:
        work.folder.update_run(warnings=[warning] if warning else [])
    if warning and work.shared is None:  # runs that share results show the same picture again and again
        log.warning("%s", warning)


def write_names(
    work: Work,
    concepts: Concepts,
    indexes: list[int],
    tokens: tuple[str, ...],
    words: Sequence[Named] | None = None,
) -> None:
    """The files that say what each concept is called, overlay and table. `words`: those nearest to it."""
    folder = work.folder
    assert folder is not None and concepts.pixel_masks is not None
    labels = concepts.labels or [""] * len(concepts)
    names = [f"{token} {label}".strip() for token, label in zip(tokens, labels, strict=True)]
    masks: np.ndarray[Any, Any] = concepts.pixel_masks.numpy()
    write_picture(folder / "overlay.png", draw_overlay(work.picture.original, masks, names))
    folder.write_concepts(concepts, indexes, tokens, words)


def localize_maps(attention: AttentionMaps, options: Options) -> Concepts:
    """Stages two and three of bare maps, without a model or a folder."""
    manager = options.manager()
    config = options.resolve(manager)
    with torch_settings(config):
        return Work(manager, config).localize(attention)


def localize_picture(
    source: PictureSource, options: Options, out: Path | None, *, resume: bool, overwrite: bool
) -> Concepts:
    """Stages one to three of a picture."""
    with alone_in(out):
        work = begin(source, options, out, resume=resume, overwrite=overwrite)
        with recorded(work, "localized"):
            return shrinking(work, find_concepts)[0]
