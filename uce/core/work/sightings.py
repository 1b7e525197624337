"""The further pictures of a folder that holds things seen in several: read as stage five wants them.

DIR/pictures/1.png     the second picture (the first is input.png)
DIR/pictures/1-0.png   where concept 0 stands in it; no such file: it is not there
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from uce.core.errors import ConfigError
from uce.core.files.masks import read_mask_of_size
from uce.core.flow.configuration import Choice
from uce.core.flow.picture import load_rgb, read_picture
from uce.core.flow.sightings import Sighting
from uce.core.runs.folder import RunFolder
from uce.core.work.edited_masks import _restore_untouched, given_masks, measured
from uce.core.work.pipeline import Work


def picture_path(folder: RunFolder, number: int) -> Path:
    """Further picture `number`, from 1."""
    return folder / "pictures" / f"{number}.png"


def mask_path(folder: RunFolder, number: int, index: int) -> Path:
    """Where concept `index` stands in that picture."""
    return folder / "pictures" / f"{number}-{index}.png"


def slot(number: int) -> str:
    """The name in stages/ of what localisation found in that picture."""
    return f"concepts-{number}"


def require_several(optimizer: Choice) -> None:
    """Refuse an optimizer that would leave the further pictures aside.

    Raises:
        ConfigError: it does not say `several_pictures = True`.
    """
    if not getattr(optimizer.plugin.obj, "several_pictures", False):
        raise ConfigError(
            f"optimizer {optimizer.plugin.name!r} learns from one picture only; choose masked-denoising, lora or "
            "break-a-scene with --optimizer"
        )


def read_sightings(work: Work, indexes: Sequence[int], tokens: Sequence[str]) -> tuple[Sighting, ...]:
    """Where the concepts `indexes` stand in every further picture that shows one of them; run.json then says under
    which names. A folder of one picture has none."""
    folder = work.folder
    assert folder is not None
    rows = folder.read_run().get("pictures", [])
    if not rows:
        return ()
    before = {entry["token"]: entry["index"] for entry in folder.read_concepts()["concepts"]}
    names = dict(zip(indexes, tokens, strict=True))
    for row in rows:
        row["concepts"] = {names.get(before.get(old, -1), old): number for old, number in row["concepts"].items()}
    folder.update_run(pictures=rows)
    found = (_sighting(work, folder, number, indexes) for number in range(1, len(rows)))
    return tuple(one for one in found if one is not None)


def _sighting(work: Work, folder: RunFolder, number: int, indexes: Sequence[int]) -> Sighting | None:
    there = [index for index in indexes if mask_path(folder, number, index).is_file()]
    if not there:
        return None
    picture = read_picture(load_rgb(picture_path(folder, number)), work.picture.side, work.picture.fit)
    masks = given_masks(
        [read_mask_of_size(mask_path(folder, number, index), picture.size) for index in there], picture.size
    )
    alone = dataclasses.replace(work, image=picture, folder=None, seconds={}, sightings=())
    found = _restore_untouched(folder, measured(alone, masks), [str(index) for index in there], slot(number))
    for stage, seconds in alone.seconds.items():
        work.seconds[stage] = work.seconds.get(stage, 0.0) + seconds
    return Sighting.of(picture, found, [indexes.index(index) for index in there], len(indexes))
