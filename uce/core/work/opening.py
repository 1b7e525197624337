"""A picture, its configuration, model and folder, opened as one piece of work; how it began and ended on disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from uce.core.config.options import Options, require_same
from uce.core.config.provenance import plugin_rows
from uce.core.config.resolving import load_config_file
from uce.core.errors import OutOfMemoryError, PluginError, RunFolderError, UceError, is_out_of_memory
from uce.core.files.paths import typed_path
from uce.core.files.pictures import PictureSource, RgbArray
from uce.core.files.writing import write_picture, write_text
from uce.core.flow.configuration import Config
from uce.core.flow.events import RunFinished, RunStarted
from uce.core.flow.picture import Picture, load_rgb, read_picture
from uce.core.flow.run_settings import what_to_lower
from uce.core.hookspecs import STAGE_HOOKS
from uce.core.model.backbone import Backbone
from uce.core.registry.host import ExitedError, kept
from uce.core.registry.manager import Manager
from uce.core.runs.facts import command_line, now, versions
from uce.core.runs.folder import RunFolder
from uce.core.runs.token_names import check_names
from uce.core.work.cache import SharedStore
from uce.core.work.models import backbone_for, settle_micro_batch, torch_settings
from uce.core.work.pipeline import Work

log = logging.getLogger(__name__)


def begin(source: PictureSource, options: Options, out: Path | None, *, resume: bool, overwrite: bool) -> Work:
    """Check everything, load the model, then open the folder.

    Raises:
        UceError: whatever is wrong with the input, the settings, the model or the folder.
    """
    if resume and overwrite:
        raise RunFolderError("--resume and --overwrite exclude each other; give one of them")
    folder = None if out is None else RunFolder(out)
    continued = folder is not None and folder.is_run and resume and (folder / "config.yaml").is_file()
    overwrite = overwrite or (resume and not continued)  # killed before anything was begun: nothing to continue
    stored = load_config_file(folder / "config.yaml") if folder and continued else None
    manager = options.manager()
    config = options.resolve(manager, base=stored, origin=folder / "config.yaml" if folder and continued else None)
    if stored is not None and out is not None:
        require_same(options.completed(manager, stored), config, out)
    original = load_rgb(source)
    if folder is not None and not continued:
        folder.check(overwrite=overwrite)
    file = source if isinstance(source, str | Path) else getattr(source, "filename", None)  # PIL knows its file
    name = Path(file).name if file else type(source).__name__
    return open_work(manager, config, original, name, folder, continued=continued, overwrite=overwrite)


def open_work(
    manager: Manager,
    config: Config,
    original: RgbArray,
    name: str,
    folder: RunFolder | None,
    *,
    continued: bool,
    overwrite: bool = False,
    shared: SharedStore | None = None,
) -> Work:
    """Load the model and open the folder.

    Args:
        original: the picture as `load_rgb` gives it; `name` is what run.json calls it.
        continued: the folder holds this run already, begun earlier.
        shared: where stage results are kept together with other runs'.

    Raises:
        UceError: the model, the folder or a file that a setting names cannot be used, or the folder was begun with
            another picture.
    """
    check_names(config.run.names, config.run.concepts)
    for choice in config.choices:  # files that are missing are refused before a model is loaded
        choice.settings.input_files()
    backbone = backbone_for(manager, config)
    config = settle_micro_batch(config, backbone)
    picture = read_picture(original, backbone.picture_side, config.run.fit)
    if folder is not None and continued:
        info = folder.read_run()
        if info.get("mode") == "learn" and info.get("status") != "done":
            path, typed = folder.path, typed_path(folder.path)
            raise RunFolderError(f"{path} was last worked on by uce learn; continue with uce learn {typed} --resume")
        found = (info.get("input") or {}).get("digest")
        if found != picture.digest:
            raise RunFolderError(
                f"--resume: {folder.path} was begun with another picture; give that one, or --overwrite"
            )
    if folder is not None:
        if not continued:
            folder.prepare(overwrite=overwrite)
            _write_start(folder, manager, config, backbone, picture, name)
        (folder / "error.txt").unlink(missing_ok=True)
        folder.sweep()
    where = "memory" if folder is None else folder.path
    log.info("run of %s in %s: %s, %s", name, where, backbone.model, "continued" if continued else "begun")
    manager.emit(RunStarted(config, picture, None if folder is None else folder.path, backbone))
    return Work(manager, config, backbone, picture, folder, shared)


def _write_start(
    folder: RunFolder, manager: Manager, config: Config, backbone: Backbone, picture: Picture, name: str
) -> None:
    """What a later `--resume`, `learn` or `generate` needs to know."""
    height, width = picture.size
    folder.update_run(  # first of all, for it tells that the folder is a run's
        status="running",
        mode="run",
        command=command_line(),
        started=now(),
        finished=None,
        versions=versions(),
        device=config.run.device,
        precision=config.run.precision,
        seed=config.run.seed,
        model={"name": backbone.model, "description": backbone.description, "fingerprint": backbone.fingerprint},
        input={"name": name, "digest": picture.digest, "width": width, "height": height},
        plugins=plugin_rows(config, manager),
        stages=[],
    )
    write_text(folder / "config.yaml", config.to_yaml())
    write_picture(folder / "input.png", picture.original)


@contextmanager
def recorded(work: Work, status: str) -> Iterator[None]:
    """Keep run.json true: `status` at the end, "interrupted" or "failed" where it ends otherwise.

    A run that fails before it found anything leaves no folder behind.
    """
    try:
        with torch_settings(work.config), kept():
            yield
        work.require_folder()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        folder = work.folder
        log.info("run ended: %s (%s)", ended, error)
        with suppress(UceError, OSError):  # a disk that is full must not hide why the run failed
            if folder is not None and folder.path.is_dir():
                if isinstance(error, UceError) and not (folder / "concepts.json").exists():
                    folder.discard()
                elif folder.is_run:
                    folder.update_run(status=ended, finished=now(), stages=stage_rows(work))
        with suppress(UceError):  # an observer that fails now must not hide why the run did
            work.manager.emit(RunFinished(ended, None if folder is None else folder.path, str(error)))
        if isinstance(error, ExitedError):  # outside of a stage: a model that drew, say
            raise PluginError(f"a plugin ended the run with {error}; take that out of it, or run without it") from error
        if is_out_of_memory(error) and not isinstance(error, UceError):  # outside of a stage: reading, drawing, writing
            raise OutOfMemoryError(f"memory ran out; {what_to_lower(work.config.run, '')}") from error
        raise
    if work.folder is not None:
        work.folder.update_run(status=status, finished=now(), stages=stage_rows(work))
    log.info("run ended: %s", status)
    work.manager.emit(RunFinished(status, None if work.folder is None else work.folder.path))


def stage_rows(work: Work) -> list[dict[str, Any]]:
    """Timings of the stages, earlier ones of the same folder included."""
    earlier = work.folder.read_run().get("stages", []) if work.folder and work.folder.is_run else []
    rows = {row["stage"]: row for row in earlier}
    rows.update({s: {"stage": s, "seconds": round(t, 3)} for s, t in work.seconds.items() if t > 0})
    reused = work.reused.items()
    rows.update({s: {"stage": s, "seconds": round(t, 3), "reused": True} for s, t in reused})
    order = [*STAGE_HOOKS, "samples"]
    return sorted(rows.values(), key=lambda row: order.index(row["stage"].partition("-")[0]))
