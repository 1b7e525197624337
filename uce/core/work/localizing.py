"""A picture's way to masks: stages one to three, with or without a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.config.options import Options
from uce.core.files.locks import alone_in
from uce.core.files.pictures import PictureSource
from uce.core.files.writing import write_picture
from uce.core.flow.data import AttentionMaps, Concepts
from uce.core.runs.overlay import draw_overlay
from uce.core.runs.token_names import choose_concepts, name_tokens
from uce.core.work.cache import StageCache
from uce.core.work.models import torch_settings
from uce.core.work.opening import begin, recorded
from uce.core.work.pipeline import Work
from uce.core.work.shrinking import shrinking


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
    StageCache(folder / "stages").put("concepts", ",".join(map(str, indexes)), concepts)
    folder.write_masks(concepts.pixel_masks.numpy(), indexes, keep)
    write_names(work, concepts, indexes, tokens)


def write_names(
    work: Work,
    concepts: Concepts,
    indexes: list[int],
    tokens: tuple[str, ...],
    words: Sequence[Sequence[str]] | None = None,
) -> None:
    """The files that say what each concept is called, overlay and table. `words`: those nearest to its token."""
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
