"""What holds for every observer: it hears any event in any kind of run, and changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from uce.core.config.options import Options
from uce.core.errors import NothingFoundError
from uce.core.flow import events
from uce.core.flow.data import Clusters
from uce.core.registry.manager import Manager, load_manager
from uce.testing.doubles import tiny_attention, tiny_concepts, tiny_labels, tiny_picture
from uce.testing.tries import judged, left_alone


def check_observer(manager: Manager, hooks: tuple[str, ...], where: str) -> None:
    """Tell it about a run with a folder, one without, one that failed, an ablation and a batch.

    Raises:
        ContractError: it raises, or changes an event or anything global.
    """
    config = Options(device="cpu").resolve(load_manager())
    with tempfile.TemporaryDirectory() as folder:
        for event in sample_events(config, Path(folder)):
            hook = "uce_" + _snake(type(event).__name__)
            if hook.removeprefix("uce_") not in hooks:
                continue
            at = f"{where} (told of {type(event).__name__})"
            with judged(at):
                left_alone(lambda event=event, hook=hook: getattr(manager.pm.hook, hook)(event=event), event, at)  # type: ignore[misc]


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def sample_events(config: Any, folder: Path) -> Iterator[Any]:
    """Events as runs tell them, in their order."""
    picture, maps = tiny_picture(), tiny_attention()
    results = {"extractor": maps, "clusterer": Clusters(tiny_labels()), "refiner": tiny_concepts()}
    for where, image in ((folder, picture), (None, picture), (None, None)):
        yield events.RunStarted(config, image, where)
        for stage, result in results.items():
            yield events.StageStarted(stage, "sample")
            yield events.StageFinished(stage, "sample", result, 0.5, cached=where is None)
        yield events.RunFinished("localized", where)
    yield events.RunStarted(config, picture, folder)
    yield events.StageStarted("optimizer", "sample", total=2)
    losses = {"total": torch.tensor(0.5), "attention": 0.25}
    yield events.Step(1, 2, "split", losses)
    yield events.Step(2, 2, "merged", losses, lambda: {"<asset0>": {"clip": torch.ones(1, 6)}})
    yield events.RunFinished("interrupted", folder)
    yield events.RunStarted(config, picture, folder)
    yield events.RunFinished("failed", folder, str(NothingFoundError("nothing was found")))
    for status, error, earlier in (("done", None, False), ("failed", "it has no colours", False), ("done", None, True)):
        yield events.CellFinished(1, 3, "beach", "clusterer=kmeans", status, 1.5, error, earlier)
        yield events.PictureFinished(1, 3, "beach", status, 1.5, error, earlier)
