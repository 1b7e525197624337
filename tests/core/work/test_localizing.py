"""Stages one to three with and without a folder: the same concepts, and files that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_options import PICTURE, toy_options

from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.locks import alone_in
from uce.core.runs.folder import RunFolder
from uce.core.work.cache import StageCache
from uce.core.work.localizing import find_concepts, localize_picture, write_localisation
from uce.core.work.opening import begin


def localize(out: Path | None, overwrite: bool = False, **given: Any) -> Any:
    return localize_picture(PICTURE, toy_options(**given), out, resume=False, overwrite=overwrite)


def test_a_folder_changes_nothing_of_what_is_found(tmp_path: Path) -> None:
    bare, kept = localize(None), localize(tmp_path / "out")
    assert len(bare) == 2 and torch.equal(bare.masks, kept.masks) and torch.equal(bare.pixel_masks, kept.pixel_masks)


def test_the_folder_shows_what_was_found(tmp_path: Path) -> None:
    found, folder = localize(tmp_path), RunFolder(tmp_path)
    for row in (0, 1):
        with Image.open(tmp_path / "masks" / f"{row}.png") as picture:
            assert np.array_equal(np.asarray(picture) > 0, found.pixel_masks[row].numpy())
    table = json.loads((tmp_path / "concepts.json").read_text())["concepts"]
    assert [(entry["index"], entry["token"]) for entry in table] == [(0, "<asset0>"), (1, "<asset1>")]
    assert [entry["area"] for entry in table] == found.pixel_masks.flatten(1).sum(dim=1).tolist()
    with Image.open(tmp_path / "overlay.png") as picture, Image.open(tmp_path / "input.png") as original:
        assert np.array_equal(np.asarray(original), PICTURE)
        assert not np.array_equal(np.asarray(picture.convert("RGB").resize((48, 40))), PICTURE)
    assert folder.read_run()["status"] == "localized"
    key, stored = StageCache(tmp_path / "stages").find("concepts") or ("", None)
    assert key == "0,1" and torch.equal(stored.masks, found.masks)  # type: ignore[union-attr]


def test_chosen_concepts_keep_their_numbers_and_take_the_names(tmp_path: Path) -> None:
    work = begin(PICTURE, toy_options(concepts=[1], names=["hat"]), tmp_path, resume=False, overwrite=False)
    concepts, indexes, tokens = find_concepts(work)
    assert (len(concepts), indexes, tokens) == (1, [1], ("<hat>",))
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["1.png"]


def test_a_concept_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--concepts: there is no concept 2; found 2, allowed 0 to 1"):
        localize(tmp_path / "out", concepts=[2])
    assert not (tmp_path / "out").exists()


def test_masks_that_are_to_stay_stay(tmp_path: Path) -> None:
    work = begin(PICTURE, toy_options(), tmp_path, resume=False, overwrite=False)
    concepts, indexes, tokens = find_concepts(work)
    before = (tmp_path / "masks" / "1.png").read_bytes()
    write_localisation(work, concepts.select([0]), indexes[:1], tokens[:1], keep=["1"])
    assert (tmp_path / "masks" / "1.png").read_bytes() == before
    write_localisation(work, concepts.select([0]), indexes[:1], tokens[:1])
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["0.png"]


def test_a_folder_that_was_removed_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    work = begin(PICTURE, toy_options(), tmp_path / "out", resume=False, overwrite=False)
    found = find_concepts(work)
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(RunFolderError, match="was removed while uce worked in it; run again"):
        write_localisation(work, *found)
    assert not (tmp_path / "out").exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with alone_in(tmp_path / "out"), pytest.raises(RunFolderError, match="is being written by another uce right now"):
        localize(tmp_path / "out")
