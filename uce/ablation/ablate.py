"""`uce.ablate`: the same pictures under many configurations, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from uce.ablation.folder import AblationFolder
from uce.ablation.result import Ablation
from uce.core.config.keywords import RunOptions, public
from uce.core.files.locks import alone_in
from uce.evaluation.drawing import Progress, tell_nobody

if TYPE_CHECKING:
    from uce.core.files.pictures import PictureSource


@public
def ablate(
    images: PictureSource | Sequence[PictureSource],
    out: str | Path,
    *,
    vary: Sequence[str] | Mapping[str, Sequence[Any] | Mapping[str, Any]],
    one_at_a_time: bool = False,
    localize_only: bool = False,
    truth: str | Path | None = None,
    evaluate: bool = False,
    encoder: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = tell_nobody,
    **options: Unpack[RunOptions],
) -> Ablation:
    """Run the same pictures under many configurations and compare; what cells share is computed once.

    Args:
        images: one picture or several; files are known by their stems.
        out: the folder for tables and runs.
        vary: key -> values, such as {"clusterer": ["finch", "kmeans"], "refiner": ["saliency+merge", "none"],
            "optimizer.merge_step": [50, 100]}, or the texts of `--vary`. Variants of a stage with settings of their own
            are a mapping: {"clusterer": {"mine": {"plugin": "hdbscan", "smallest": 6}, "kmeans": {}}}. Every
            combination becomes a cell; cells that only `seed` tells apart are one row of the tables.
        one_at_a_time: instead, the base configuration and each single change of it, with every seed.
        localize_only: stages one to three only.
        truth: a folder of true masks, see docs/formats.md.
        evaluate: also draw from the tokens, and measure what `uce.evaluate` does; `set`
            takes its settings too ("evaluate.count=4").
        encoder: who compares them; None: efficientnet-lite0.
        resume: continue the ablation in `out`: values and pictures may be added, what is finished stays, and runs
            whose plugins have other code now are computed again.
        overwrite: replace the ablation in `out`.
        progress: as in `uce.evaluate`, with `evaluate`.
        options: the base configuration, as for `run`.

    Returns:
        the ablation; cells that failed are in `failures`, and the others finished all the same.

    Raises:
        UceError: what is asked for cannot be run.
    """
    from uce.ablation.run import Asked, run_ablation
    from uce.core.config.options import Options

    sources: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    where = None if truth is None else Path(truth)
    asked = Asked(vary, one_at_a_time, localize_only, where, evaluate, encoder, progress)
    with alone_in(Path(out)):
        run_ablation(sources, Options.of(options), Path(out), asked, resume=resume, overwrite=overwrite)
    return Ablation(AblationFolder(Path(out)))
