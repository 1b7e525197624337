"""Memory that runs out: recognised whoever says so, told in one sentence, answered with less where that is allowed."""

from __future__ import annotations

import dataclasses
import gc
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from uce.core.errors import OutOfMemoryError

if TYPE_CHECKING:
    from uce.core.work.pipeline import Work

T = TypeVar("T")
log = logging.getLogger(__name__)


def shrinking(work: Work, body: Callable[[Work], T]) -> T:
    """`body(work)`; where memory runs out and `run.shrink` allows it, all of it again with half the micro-batch.

    The smaller number is written into the folder's configuration before it is used, so that the bytes are those of a
    run that was asked for it; run.json says what happened.

    Raises:
        OutOfMemoryError: it is not allowed, or nothing is left to halve.
    """
    while True:
        try:
            return body(work)
        except OutOfMemoryError as error:
            run = work.config.run
            if not run.shrink or run.micro_batch < 2:
                raise
            reason = str(error)
        work = _with_half(work, reason)


def _with_half(work: Work, reason: str) -> Work:
    before = work.config.run.micro_batch
    smaller = work.config.run.model_copy(update={"micro_batch": before // 2})
    config = dataclasses.replace(work.config, run=smaller)
    log.warning("memory ran out with run.micro_batch=%d; beginning again with %d (%s)", before, before // 2, reason)
    if work.folder is not None:
        from uce.core.files.writing import write_text

        earlier = work.folder.read_run().get("shrunk", [])
        write_text(work.folder / "config.yaml", config.to_yaml())
        work.folder.update_run(shrunk=[*earlier, {"micro_batch": before, "now": before // 2}])
    _let_go()
    return dataclasses.replace(work, config=config)


def _let_go() -> None:
    """Give back what the failed attempt held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
