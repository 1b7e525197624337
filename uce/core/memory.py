"""Memory that runs out: recognised whoever says so, told in one sentence, answered with less where that is allowed."""

from __future__ import annotations

import dataclasses
import errno
import gc
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from uce.core.errors import OutOfMemoryError

if TYPE_CHECKING:
    from uce.core.localizing import Work
    from uce.core.run_settings import RunSettings

T = TypeVar("T")
log = logging.getLogger(__name__)

_PHRASES = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc", "failed to map segment",
            "can't start new thread", "unable to allocate")  # fmt: skip


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what caused it, says that there is no memory: Python, numpy, torch, CUDA, the loader."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, (RuntimeError, OSError, ImportError)) and any(p in str(error).lower() for p in _PHRASES):
            return True
        error = error.__cause__ or error.__context__
    return False


def not_damaged(error: BaseException, what: str, advice: str = "make it smaller, or close other programs") -> None:
    """For those who call a file damaged, whatever its parser raised: not where there was no memory to read it.

    Raises:
        OutOfMemoryError: `error` says so.
    """
    if is_out_of_memory(error):
        raise OutOfMemoryError(f"memory ran out while {what} was read; {advice}") from error


def what_to_lower(run: RunSettings, stage: str) -> str:
    """The setting that takes less memory, as the end of a sentence."""
    if stage == "extractor":
        return "lower extractor.cells (--set extractor.cells=16), or give a smaller model"
    if run.micro_batch > 1:
        half = run.micro_batch // 2
        return (
            f"lower run.micro_batch (now {run.micro_batch}; --set run.micro_batch={half}), or allow that with "
            "--set run.shrink=true"
        )
    return "run.micro_batch is 1 already: use --precision bfloat16, a smaller model, or a machine with more memory"


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
        from uce.core.files import write_text

        earlier = work.folder.read_run().get("shrunk", [])
        write_text(work.folder / "config.yaml", config.to_yaml())
        work.folder.update_run(shrunk=[*earlier, {"micro_batch": before, "now": before // 2}])
    _let_go()
    return dataclasses.replace(work, config=config, pipeline=dataclasses.replace(work.pipeline, config=config))


def _let_go() -> None:
    """Give back what the failed attempt held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
