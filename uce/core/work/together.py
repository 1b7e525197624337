"""One token from several pictures: a folder of the runs' pictures and masks, then `uce learn` on it.

The folder looks like what `uce localize` writes of the first picture, and holds the others in `pictures/`; so that all
that works on a run works on it, and `uce learn DIR --overwrite` learns it again after its masks were edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.config.options import Options
from uce.core.config.resolving import load_config_file
from uce.core.errors import ConfigError, RunFolderError, UceError
from uce.core.files.locks import alone_in
from uce.core.files.masks import read_mask_of_size
from uce.core.files.writing import write_json, write_picture, write_text
from uce.core.flow.configuration import Config
from uce.core.flow.data import Concepts
from uce.core.flow.picture import load_rgb
from uce.core.runs.facts import command_line, now, versions
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredRun
from uce.core.work.cache import StageCache
from uce.core.work.learning import learn_folder
from uce.core.work.same import Same, Things, read_things
from uce.core.work.sightings import mask_path, picture_path, require_several, slot

Mask = np.ndarray[Any, np.dtype[np.bool_]]
OWN = ("model", "device", "precision", "seed", "plugins", "input")
"""What the folder's run.json takes from the first run's."""


def learn_together(
    folders: Sequence[str | Path],
    same: Same | None,
    options: Options,
    out: str | Path | None,
    *,
    resume: bool,
    overwrite: bool,
) -> Path:
    """Learn one token per thing that `same` names, on the pictures of all runs that show it; returns `out`.

    Raises:
        UceError: as `read_things`; a mask, an option or `out` cannot be used, or `out` was begun with other things.
    """
    if same is None or out is None:
        raise ConfigError(
            "several folders need --same NAME=DIR:K,DIR:K, which says what is one thing in them, and -o DIR, the "
            "folder to write; one folder takes neither; uce match proposes the line"
        )
    out = Path(out)
    if resume and overwrite:
        raise RunFolderError("--resume and --overwrite exclude each other; give one of them")
    if options.concepts or options.names:
        flag = "--concepts" if options.concepts else "--names"
        raise ConfigError(
            f"{flag} is for one folder; of several --same says which concepts are learned, and their names"
        )
    things = read_things(folders, same)
    config = _configured(things.runs[0], options)
    with alone_in(out):
        folder = RunFolder(out)
        begun = resume and folder.is_run
        if begun and folder.read_run().get("pictures") != picture_rows(things):
            raise RunFolderError(f"--resume: {out} was begun with other things; give those, or --overwrite")
        if not begun or not (folder / "concepts.json").is_file():
            masks = [_masks_of(things, number) for number in range(len(things.runs))]  # refused before any writing
            folder.prepare(overwrite=overwrite or resume)
            write_things(folder, things, config, masks)
    try:
        learn_folder(out, options, resume=begun, overwrite=overwrite)
    except UceError:
        if not begun and folder.is_run and folder.read_run().get("status") == "localized":
            folder.discard()  # refused before it began
        raise
    return out


def picture_rows(things: Things) -> list[dict[str, Any]]:
    """What run.json says of the pictures, the folder's own first."""
    return [
        {
            **{key: run.info["input"].get(key) for key in ("name", "digest", "width", "height")},
            "run": run.path.name,
            "concepts": {token: concept.index for token, concept in things.shown(number).items()},
        }
        for number, run in enumerate(things.runs)
    ]


def write_things(folder: RunFolder, things: Things, config: Config, masks: Sequence[dict[str, Mask]]) -> None:
    """Pictures, masks, and what the runs found; run.json first, concepts.json last.

    Args:
        masks: of every run token -> bool (H, W).
    """
    facts: dict[str, Any] = {
        "command": command_line(),
        "started": now(),
        "finished": None,
        "versions": versions(),
        "stages": [],
    }
    own = {key: things.runs[0].info.get(key) for key in OWN}
    folder.update_run(status="running", mode="learn", **facts, **own, pictures=picture_rows(things))
    write_text(folder / "config.yaml", config.to_yaml())
    for number, (run, shown) in enumerate(zip(things.runs, masks, strict=True)):
        indexes = [things.tokens.index(token) for token in shown]
        original = load_rgb(run.path / "input.png")
        if number == 0:
            write_picture(folder / "input.png", original)
            folder.write_masks(np.stack([*shown.values()]), indexes)
        else:
            write_picture(picture_path(folder, number), original)
            for index, mask in zip(indexes, shown.values(), strict=True):
                write_picture(mask_path(folder, number, index), mask)
        _keep_found(
            folder, run, {concept.index: things.tokens.index(t) for t, concept in things.shown(number).items()}, number
        )
    write_json(folder / "concepts.json", _document(things))
    folder.update_run(status="localized")


def _configured(first: StoredRun, options: Options) -> Config:
    """The first run's configuration with what `options` change; all of its concepts count, under new names.

    Raises:
        ConfigError: an option is wrong, or the optimizer learns from one picture.
    """
    stored = load_config_file(first.path / "config.yaml")
    stored["run"] = {**stored.get("run", {}), "concepts": None, "names": None}
    config = options.resolve(options.manager(), base=stored, origin=first.path / "config.yaml")
    require_several(config.optimizer)
    return config


def _masks_of(things: Things, number: int) -> dict[str, Mask]:
    """Token -> its mask in one run, as it lies there now."""
    run = things.runs[number]
    size = (run.info["input"]["height"], run.info["input"]["width"])
    return {token: read_mask_of_size(run.path / one.mask_path, size) for token, one in things.shown(number).items()}


def _keep_found(folder: RunFolder, run: StoredRun, indexes: Mapping[int, int], number: int) -> None:
    """What localisation found, so that masks that nobody changes lose nothing. `indexes`: number there -> here."""
    key, found = StageCache(run.path / "stages").find("concepts") or ("", None)
    if not isinstance(found, Concepts):
        return
    rows = {int(index): row for row, index in enumerate(key.split(",")) if index.isdecimal()}
    kept = {there: here for there, here in indexes.items() if there in rows}
    if kept:
        StageCache(folder / "stages").put(
            slot(number) if number else "concepts",
            ",".join(map(str, kept.values())),
            found.select([rows[there] for there in kept]),
        )


def _document(things: Things) -> dict[str, Any]:
    """concepts.json: the first run's entries under their new numbers and names."""
    known = {entry["index"]: entry for entry in things.runs[0].document["concepts"]}
    entries = [
        {**known[concept.index], "index": index, "token": token, "mask": f"masks/{index}.png", "label": None}
        for index, (token, concept) in enumerate(things.shown(0).items())
    ]
    for entry in entries:
        entry.pop("words", None)
    return {"image": things.runs[0].document.get("image"), "concepts": entries}
