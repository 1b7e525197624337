"""`uce.batch`: many pictures, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from uce.batching.folder import BatchFolder
from uce.batching.result import Batch
from uce.core.config.keywords import RunOptions, public


@public
def batch(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    executor: str = "local",
    workers: int | None = None,
    localize_only: bool = False,
    overwrite: bool = False,
    **options: Unpack[RunOptions],
) -> Batch:
    """Run many pictures with one configuration; what is finished is never done again.

    Args:
        sources: pictures, folders, patterns, lists (.txt, .csv, .jsonl) or URLs; one or several.
        out: the folder for index, contact sheet and runs. Where it holds this batch already, it is continued.
        executor: "local", "processes", "ray", or a plugin's.
        workers: how many, for executors that have several; None: what the machine has room for.
        localize_only: stages one to three only.
        overwrite: replace the batch in `out`.
        options: as for `run`. `set` also takes "executor.K=V"; threads are 1 unless `run.threads` says otherwise.

    Returns:
        the batch; pictures that failed are in `failures`, and the others finished all the same.

    Raises:
        UceError: what is asked for cannot be run, or another batch works in `out`.
    """
    from uce.batching.run import run_batch
    from uce.core.config.options import Options

    run_batch(
        [sources] if isinstance(sources, str | Path) else list(sources),
        Options.of(options),
        Path(out),
        executor=executor,
        workers=workers,
        localize_only=localize_only,
        overwrite=overwrite,
    )
    return Batch(BatchFolder(Path(out)))
